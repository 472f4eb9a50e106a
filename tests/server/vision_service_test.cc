// What callers see, row by row of the API's table of status codes: a server within the process,
// called over loopback.
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/running_app.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

std::map<int, float> LogitsByClass(const v1::Classification& result) {
  std::map<int, float> logits;
  for (const auto& one : result.classes()) logits[one.index()] = one.logit();
  return logits;
}

std::string ReadPhoto(const std::string& name) {
  std::ifstream in(std::string(SPATIALMAMBA_SOURCE_DIR) + "/tests/data/clothing/" + name,
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void AppendBigEndian(uint32_t value, std::string& bytes) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
}

// A PNG file that ends after its header.
std::string PngHeader(uint32_t width, uint32_t height) {
  std::string chunk = "IHDR";
  AppendBigEndian(width, chunk);
  AppendBigEndian(height, chunk);
  chunk += std::string("\x08\x02\x00\x00\x00", 5);
  std::string file("\x89PNG\r\n\x1a\n", 8);
  AppendBigEndian(13, file);
  file += chunk;
  AppendBigEndian(static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(chunk.data()),
                                              static_cast<uInt>(chunk.size()))),
                  file);
  return file;
}

class VisionServiceTest : public RunningApp {
 protected:
  // The server goes on after whatever it was sent.
  void ExpectAnswers() {
    v1::ClassifyRequest request;
    AddEncoded(ReadPhoto("dress-1.jpg"), request);
    const Reply reply = client_->Classify(request);
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
  }

  void ExpectError(const Reply& reply, grpc::StatusCode code, const std::string& reason,
                   const std::string& field = "") {
    EXPECT_EQ(reply.status.error_code(), code) << reply.status.error_message();
    EXPECT_EQ(reply.error.reason(), reason) << reply.status.error_message();
    EXPECT_EQ(reply.error.domain(), "spatialmamba");
    EXPECT_FALSE(reply.status.error_message().empty());
    EXPECT_EQ(reply.retry.has_retry_delay(), code == grpc::UNAVAILABLE);
    if (field.empty()) {
      EXPECT_EQ(reply.bad_request.field_violations_size(), 0);
    } else {
      ASSERT_EQ(reply.bad_request.field_violations_size(), 1);
      EXPECT_EQ(reply.bad_request.field_violations(0).field(), field);
    }
    EXPECT_EQ(
        Metric("spatialmamba_request_errors_total{method=\"Classify\",reason=\"" + reason + "\"}"),
        1);
    ExpectAnswers();
  }
};

TEST_F(VisionServiceTest, NamesModelSizeAndTheMostProbableClasses) {
  Start();
  v1::ClassifyRequest request;
  AddEncoded(ReadPhoto("dress-1.jpg"), request);
  request.set_top_k(3);
  request.set_include_logits(true);
  const Reply reply = client_->Classify(request);
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  EXPECT_EQ(reply.response.model().name(), "tiny");
  EXPECT_EQ(reply.response.model().version(), "1");
  EXPECT_EQ(reply.response.model().weights_sha256().size(), 64);
  ASSERT_EQ(reply.response.results_size(), 1);
  const v1::Classification& result = reply.response.results(0);
  EXPECT_EQ(result.image_size().height(), 171);
  EXPECT_EQ(result.image_size().width(), 128);
  EXPECT_FALSE(result.has_explanation());
  ASSERT_EQ(result.classes_size(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(result.classes(i).name(), "class_" + std::to_string(result.classes(i).index()));
    EXPECT_TRUE(result.classes(i).has_logit());
    if (i > 0) {
      EXPECT_GE(result.classes(i - 1).probability(), result.classes(i).probability());
    }
  }
  EXPECT_EQ(reply.trailers.count("x-trace-id"), 1);
}

TEST_F(VisionServiceTest, TopKBeyondTheClassesMeansAllAndFiveIsTheDefault) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  EXPECT_EQ(client_->Classify(request).response.results(0).classes_size(), 5);
  request.set_top_k(1'000'000);
  const Reply all = client_->Classify(request);
  ASSERT_EQ(all.response.results(0).classes_size(), 10);
  double sum = 0;
  for (const v1::Class& one : all.response.results(0).classes()) sum += one.probability();
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST_F(VisionServiceTest, ExplainSaysWhereTheTimeWent) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 64, 64, request);
  request.set_explain(true);
  const Reply reply = client_->Classify(request);
  ASSERT_TRUE(reply.status.ok());
  const v1::Explanation& explanation = reply.response.results(0).explanation();
  EXPECT_GT(explanation.inference().nanos(), 0);
  EXPECT_TRUE(explanation.has_decode() && explanation.has_preprocess() && explanation.has_queue() &&
              explanation.has_postprocess());
  EXPECT_EQ(explanation.batch_size(), 1);
  EXPECT_EQ(explanation.batch_closed_by(), "idle");
  EXPECT_EQ(explanation.device(), "cpu");
}

TEST_F(VisionServiceTest, TraceOfTheCallerIsKept) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  grpc::ClientContext context;
  context.AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  const Reply reply = client_->Classify(request, context);
  ASSERT_EQ(reply.trailers.count("x-trace-id"), 1);
  EXPECT_EQ(reply.trailers.find("x-trace-id")->second, "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST_F(VisionServiceTest, RefusesARequestWithoutImages) {
  Start();
  ExpectError(client_->Classify({}), grpc::INVALID_ARGUMENT, "IMAGE_MISSING", "images");
}

TEST_F(VisionServiceTest, RefusesAnImageWithoutASource) {
  Start();
  v1::ClassifyRequest request;
  request.add_images();
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "IMAGE_MISSING", "images[0]");
}

TEST_F(VisionServiceTest, RefusesAPictureThatIsCutOff) {
  Start();
  const std::string photo = ReadPhoto("dress-1.jpg");
  v1::ClassifyRequest request;
  AddEncoded(photo.substr(0, photo.size() / 2), request);
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "IMAGE_DECODE_FAILED",
              "images[0]");
}

TEST_F(VisionServiceTest, RefusesWhatIsNoPicture) {
  Start();
  v1::ClassifyRequest request;
  AddEncoded("%PDF-1.7 is not a picture", request);
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "IMAGE_UNSUPPORTED", "images[0]");
}

TEST_F(VisionServiceTest, RefusesAHugePictureByItsHeader) {
  Start();
  v1::ClassifyRequest request;
  AddEncoded(PngHeader(60'000, 60'000), request);
  const Reply reply = client_->Classify(request);
  ExpectError(reply, grpc::INVALID_ARGUMENT, "IMAGE_TOO_LARGE", "images[0]");
  EXPECT_EQ(reply.error.metadata().at("limit"), "100000000");
  EXPECT_EQ(reply.error.metadata().at("value"), "3600000000");
}

TEST_F(VisionServiceTest, RefusesANetworkInputBeyondTheBatchLimit) {
  Start("batching: {max_batch_pixels: 4096}\n");
  v1::ClassifyRequest request;
  AddRaw(1, 64, 64, request);
  EXPECT_TRUE(client_->Classify(request).status.ok());
  request.Clear();
  AddRaw(1, 64, 65, request);
  const Reply reply = client_->Classify(request);
  EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(reply.error.metadata().at("limit"), "4096");
  EXPECT_EQ(reply.error.metadata().at("value"), "4160");
}

TEST_F(VisionServiceTest, RefusesRawPixelsThatDoNotFitTheirShape) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 8, 8, request);
  request.mutable_images(0)->mutable_raw()->set_height(9);
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "IMAGE_BAD_SHAPE", "images[0]");
  for (const int height : {0, -1, 2'000'000'000}) {
    request.mutable_images(0)->mutable_raw()->set_height(height);
    EXPECT_EQ(client_->Classify(request).status.error_code(), grpc::INVALID_ARGUMENT) << height;
  }
  request.mutable_images(0)->mutable_raw()->set_height(8);
  request.mutable_images(0)->mutable_raw()->clear_format();
  EXPECT_EQ(client_->Classify(request).error.reason(), "IMAGE_BAD_SHAPE");
}

TEST_F(VisionServiceTest, RefusesATopKBelowOne) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  request.set_top_k(0);
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "INVALID_OPTION", "top_k");
}

TEST_F(VisionServiceTest, RefusesMoreImagesThanAllowed) {
  Start("limits: {images_per_request: 2}\n");
  v1::ClassifyRequest request;
  for (int i = 0; i < 3; ++i) AddRaw(i, 16, 16, request);
  const Reply reply = client_->Classify(request);
  ExpectError(reply, grpc::INVALID_ARGUMENT, "TOO_MANY_IMAGES", "images");
  EXPECT_EQ(reply.error.metadata().at("limit"), "2");
  EXPECT_EQ(reply.error.metadata().at("value"), "3");
}

TEST_F(VisionServiceTest, RefusesImagesThatCouldNeverWait) {
  Start("limits: {queue_bytes: 1MiB}\n");
  v1::ClassifyRequest request;
  for (int i = 0; i < 6; ++i) AddRaw(i, 256, 256, request);
  ExpectError(client_->Classify(request), grpc::INVALID_ARGUMENT, "REQUEST_TOO_LARGE", "images");
}

TEST_F(VisionServiceTest, RefusesAReplyBeyondItsLimit) {
  Start("limits: {reply_bytes: 1KiB}\n");
  v1::ClassifyRequest request;
  for (int i = 0; i < 8; ++i) AddRaw(i, 16, 16, request);
  request.set_top_k(10);
  const Reply reply = client_->Classify(request);
  EXPECT_EQ(reply.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(reply.error.reason(), "REPLY_TOO_LARGE");
  EXPECT_EQ(reply.error.metadata().at("limit"), "1024");
}

TEST_F(VisionServiceTest, MessageBeyondTheLimitIsResourceExhausted) {
  Start("limits: {message_bytes: 64KiB}\n");
  v1::ClassifyRequest request;
  AddRaw(1, 256, 256, request);
  EXPECT_EQ(client_->Classify(request).status.error_code(), grpc::RESOURCE_EXHAUSTED);
  request.Clear();
  AddRaw(1, 32, 32, request);
  EXPECT_TRUE(client_->Classify(request).status.ok());
}

TEST_F(VisionServiceTest, UnknownModelIsNotFoundAndListsWhatIsLoaded) {
  Start();
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  request.mutable_model()->set_name("resnet");
  const Reply reply = client_->Classify(request);
  ExpectError(reply, grpc::NOT_FOUND, "MODEL_NOT_FOUND", "model.name");
  EXPECT_THAT(reply.status.error_message(), HasSubstr("tiny:1 (classify)"));
  request.mutable_model()->set_name("tiny");
  request.mutable_model()->set_version("7");
  EXPECT_EQ(client_->Classify(request).status.error_code(), grpc::NOT_FOUND);
}

TEST_F(VisionServiceTest, TaskThatNoModelDoesIsAFailedPrecondition) {
  Start();
  for (const char* name : {"", "tiny"}) {
    v1::DetectRequest detect;
    v1::DetectResponse objects;
    detect.mutable_model()->set_name(name);
    grpc::ClientContext first;
    EXPECT_EQ(client_->stub().Detect(&first, detect, &objects).error_code(),
              grpc::FAILED_PRECONDITION);
    v1::SegmentRequest segment;
    v1::SegmentResponse map;
    segment.mutable_model()->set_name(name);
    grpc::ClientContext second;
    EXPECT_EQ(client_->stub().Segment(&second, segment, &map).error_code(),
              grpc::FAILED_PRECONDITION);
  }
  v1::DetectRequest unknown;
  v1::DetectResponse objects;
  unknown.mutable_model()->set_name("yolo");
  grpc::ClientContext context;
  EXPECT_EQ(client_->stub().Detect(&context, unknown, &objects).error_code(), grpc::NOT_FOUND);
}

TEST_F(VisionServiceTest, ModelsAreDescribed) {
  Start();
  v1::ListModelsResponse list;
  grpc::ClientContext first;
  ASSERT_TRUE(client_->stub().ListModels(&first, {}, &list).ok());
  ASSERT_EQ(list.models_size(), 1);
  v1::GetModelResponse one;
  grpc::ClientContext second;
  ASSERT_TRUE(client_->stub().GetModel(&second, {}, &one).ok());
  EXPECT_EQ(one.model().SerializeAsString(), list.models(0).SerializeAsString());
  EXPECT_EQ(one.model().name(), "tiny");
  EXPECT_EQ(one.model().task(), v1::TASK_CLASSIFY);
  EXPECT_EQ(one.model().classes_size(), 10);
  EXPECT_EQ(one.model().dims(3), 64);
  EXPECT_EQ(one.model().input().crop(), 0);
  EXPECT_TRUE(one.model().ready());
  v1::GetModelRequest unknown;
  unknown.mutable_model()->set_name("none");
  grpc::ClientContext third;
  EXPECT_EQ(client_->stub().GetModel(&third, unknown, &one).error_code(), grpc::NOT_FOUND);
}

TEST_F(VisionServiceTest, AModelInBfloat16SaysSoAndAnswersNearlyTheSame) {
  WriteTinyModel(folder_.path() / "tiny.safetensors", {});
  app_ = StartApp(
      "listen: 127.0.0.1:0\n"
      "admin: 127.0.0.1:0\n"
      "log: {level: error}\n"
      "models:\n"
      "  - {name: exact, weights: tiny.safetensors}\n"
      "  - {name: half, weights: tiny.safetensors, precision: bf16}\n",
      folder_.path());
  ASSERT_NE(app_, nullptr);
  client_ = std::make_unique<TestClient>(app_->grpc_address().port);
  v1::ListModelsResponse list;
  grpc::ClientContext context;
  ASSERT_TRUE(client_->stub().ListModels(&context, {}, &list).ok());
  ASSERT_EQ(list.models_size(), 2);
  EXPECT_EQ(list.models(0).precision(), "fp32");
  EXPECT_EQ(list.models(1).precision(), "bf16");
  EXPECT_THAT(MetricsPage(), testing::HasSubstr("model=\"half\",precision=\"bf16\""));

  v1::ClassifyRequest request;
  request.set_include_logits(true);
  request.set_top_k(10);
  for (int i = 0; i < 5; ++i) AddRaw(i, 40 + 9 * i, 70, request);
  request.mutable_model()->set_name("exact");
  const Reply exact = client_->Classify(request);
  request.mutable_model()->set_name("half");
  const Reply half = client_->Classify(request);
  ASSERT_TRUE(exact.status.ok() && half.status.ok());
  for (int i = 0; i < 5; ++i) {
    const std::map<int, float> expected = LogitsByClass(exact.response.results(i));
    const std::map<int, float> actual = LogitsByClass(half.response.results(i));
    ASSERT_EQ(expected.size(), 10U);
    float largest = 0;
    for (const auto& [index, logit] : expected) largest = std::max(largest, std::abs(logit));
    for (const auto& [index, logit] : expected)
      EXPECT_NEAR(logit, actual.at(index), 0.03F * largest);
    EXPECT_NE(expected, actual);
    // The same bits alone.
    v1::ClassifyRequest one = request;
    one.clear_images();
    *one.add_images() = request.images(i);
    const Reply alone = client_->Classify(one);
    ASSERT_TRUE(alone.status.ok());
    EXPECT_EQ(LogitsByClass(alone.response.results(0)), actual);
  }
}

TEST_F(VisionServiceTest, ResultsComeInTheOrderOfTheImages) {
  Start();
  v1::ClassifyRequest request;
  for (int i = 0; i < 12; ++i) AddRaw(i, 20 + 7 * i, 90 - 5 * i, request);
  const Reply reply = client_->Classify(request);
  ASSERT_TRUE(reply.status.ok()) << reply.status.error_message();
  ASSERT_EQ(reply.response.results_size(), 12);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(reply.response.results(i).image_size().height(), 20 + 7 * i);
    EXPECT_EQ(reply.response.results(i).image_size().width(), 90 - 5 * i);
  }
}

TEST_F(VisionServiceTest, OneBadImageFailsItsRequestAndIsNamed) {
  Start();
  const std::string photo = ReadPhoto("hat-1.jpg");
  v1::ClassifyRequest request;
  for (int i = 0; i < 3; ++i) AddRaw(i, 64, 64, request);
  AddEncoded(photo.substr(0, photo.size() / 2), request);
  AddRaw(5, 64, 64, request);
  const Reply reply = client_->Classify(request);
  ExpectError(reply, grpc::INVALID_ARGUMENT, "IMAGE_DECODE_FAILED", "images[3]");
  EXPECT_THAT(reply.status.error_message(), HasSubstr("images[3]"));
}

TEST_F(VisionServiceTest, OneOfSeveralModelsMustBeNamedAndItsHighestVersionAnswers) {
  WriteTinyModel(folder_.path() / "tiny.safetensors");
  app_ = StartApp(
      "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlog: {level: error}\n"
      "models:\n"
      "  - {name: a, version: \"9\", weights: tiny.safetensors}\n"
      "  - {name: a, version: \"10\", weights: tiny.safetensors}\n"
      "  - {name: b, weights: tiny.safetensors}\n",
      folder_.path());
  ASSERT_NE(app_, nullptr);
  client_ = std::make_unique<TestClient>(app_->grpc_address().port);
  v1::ClassifyRequest request;
  AddRaw(1, 32, 32, request);
  const Reply ambiguous = client_->Classify(request);
  EXPECT_EQ(ambiguous.status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(ambiguous.error.reason(), "MODEL_AMBIGUOUS");
  EXPECT_THAT(ambiguous.status.error_message(), HasSubstr("a, b"));
  request.mutable_model()->set_name("a");
  EXPECT_EQ(client_->Classify(request).response.model().version(), "10");
  request.mutable_model()->set_version("9");
  EXPECT_EQ(client_->Classify(request).response.model().version(), "9");
}

}  // namespace
}  // namespace spatialmamba
