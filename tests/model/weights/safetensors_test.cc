#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "model/weights/safetensors_writer.h"
#include "tests/model/weights/weights_fixture.h"

namespace spatialmamba {
namespace {

using fixture::ErrorOf;
using fixture::GoldenCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string File(const std::string& header, size_t bytes = 0) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header +
         std::string(bytes, '\0');
}

std::string Entry(const std::string& shape, const std::string& offsets,
                  const std::string& dtype = "F32") {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

Tensor FloatTensor(std::vector<int64_t> shape, const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {.dtype = DType::kFloat32,
          .shape = shape,
          .strides = RowMajorStrides(shape),
          .storage = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end())};
}

class Writing : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() /
              ("spatialmamba-" + std::to_string(getpid()) + "-" + test->name());
    fs::create_directories(folder_);
    file_ = folder_ / "out.safetensors";
  }
  void TearDown() override { fs::remove_all(folder_); }

  size_t Files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  fs::path folder_;
  fs::path file_;
};

TEST_F(Writing, KeepsValuesShapesTypesAndMetadata) {
  const Checkpoint original = ReadCheckpoint(GoldenCheckpoint("views.pth"));
  WriteSafetensors(file_, original.tensors, {{"task", "classify"}, {"empty", ""}});
  const Checkpoint copy = ReadCheckpoint(file_);
  EXPECT_THAT(copy.metadata,
              ElementsAre(testing::Pair("empty", ""), testing::Pair("task", "classify")));
  ASSERT_EQ(copy.tensors.size(), original.tensors.size());
  for (const auto& [name, tensor] : original.tensors) {
    const Tensor& written = copy.tensors.at(name);
    EXPECT_EQ(written.dtype, tensor.dtype) << name;
    EXPECT_EQ(written.shape, tensor.shape) << name;
    EXPECT_EQ(written.ToFloat(), tensor.ToFloat()) << name;
    EXPECT_EQ(written.base % SizeOf(written.dtype), 0) << name << " is not aligned";
  }
  EXPECT_EQ(Files(), 1U) << "a temporary file stayed behind";
}

TEST_F(Writing, ConvertsFloatingTensorsOnly) {
  const auto tensors = ReadCheckpoint(GoldenCheckpoint("views.pth")).tensors;
  WriteSafetensors(file_, tensors, {}, DType::kBFloat16);
  const auto copy = ReadCheckpoint(file_).tensors;
  EXPECT_EQ(copy.at("float64").dtype, DType::kBFloat16);
  EXPECT_EQ(copy.at("int64").dtype, DType::kInt64);
  EXPECT_EQ(copy.at("bool").dtype, DType::kBool);
  EXPECT_EQ(copy.at("whole").ToFloat(), tensors.at("whole").ToFloat());
}

TEST_F(Writing, RoundsToNearestEven) {
  // Between two neighbours in half precision (2^-10 apart at 1): to the even one.
  const float step = std::ldexp(1.0F, -10);
  const std::vector<float> values = {1 + 0.5F * step, 1 + 1.5F * step, 1 + 0.6F * step};
  WriteSafetensors(file_, {{"w", FloatTensor({3}, values)}}, {}, DType::kFloat16);
  EXPECT_THAT(ReadCheckpoint(file_).tensors.at("w").ToFloat(),
              ElementsAre(1, 1 + 2 * step, 1 + step));
}

TEST_F(Writing, RefusesValuesThatHalfPrecisionCannotHold) {
  const std::map<std::string, Tensor> tensors = {{"w", FloatTensor({2}, {1, 70000})}};
  EXPECT_THROW(WriteSafetensors(file_, tensors, {}, DType::kFloat16), CheckpointError);
  EXPECT_EQ(Files(), 0U) << "half a file stayed behind";
  WriteSafetensors(file_, tensors, {}, DType::kBFloat16);
  EXPECT_EQ(Files(), 1U);
}

TEST_F(Writing, ToAFolderThatIsNotThereNamesTheFile) {
  try {
    WriteSafetensors(folder_ / "none" / "out.safetensors", {});
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("none/out.safetensors cannot be written"));
  }
}

TEST_F(Writing, ReadsWhatItWroteOfAnOldFile) {
  const auto tensors = ReadCheckpoint(GoldenCheckpoint("classification_legacy.pth")).tensors;
  WriteSafetensors(file_, tensors, {}, DType::kFloat32);
  const auto copy = ReadCheckpoint(file_).tensors;
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(copy.at(name).ToFloat(), tensor.ToFloat()) << name;
  }
}

TEST(Safetensors, ValuesLieWhereTheHeaderSays) {
  std::string file = File(R"({"b":)" + Entry("[1,2]", "[4,12]") + R"(,"a":)" +
                              Entry("[]", "[0,4]") + R"(,"__metadata__":{"classes":"[1]"}})",
                          12);
  const float values[] = {7, 8, 9};
  file.replace(file.size() - 12, 12, reinterpret_cast<const char*>(values), 12);
  const Checkpoint checkpoint = fixture::Read(file);
  EXPECT_THAT(checkpoint.tensors.at("a").ToFloat(), ElementsAre(7));
  EXPECT_THAT(checkpoint.tensors.at("b").ToFloat(), ElementsAre(8, 9));
  EXPECT_EQ(checkpoint.metadata.at("classes"), "[1]");
}

// The file of a tiny model with random seeds was taken for a pickle, because its header happened to
// be 0x..80 bytes long.
TEST(Safetensors, AHeaderWhoseSizeLooksLikeThePickleMarkIsNoPickle) {
  std::string header = R"({"a":)" + Entry("[1]", "[0,4]") + "}";
  header.resize(0x80, ' ');
  EXPECT_THAT(fixture::Read(File(header, 4)).tensors.at("a").ToFloat(), ElementsAre(0));
}

TEST(Safetensors, ABoolIsZeroOrOneWhateverByteStandsForIt) {
  std::string file = File(R"({"b":)" + Entry("[2]", "[0,2]", "BOOL") + "}", 2);
  file.back() = '\x7f';
  EXPECT_THAT(fixture::Read(file).tensors.at("b").ToFloat(), ElementsAre(0, 1));
}

TEST(Safetensors, BadHeadersAreRefused) {
  const std::string huge = "9223372036854775807";
  const std::string bad[] = {
      File(R"({"a":)" + Entry("[1]", "[0,8]") + "}", 8),  // offsets against shape
      File(R"({"a":)" + Entry("[1]", "[4,8]") + "}", 8),  // a gap
      File(R"({"a":)" + Entry("[1]", "[0,4]") + "}", 8),  // bytes after the end
      File(R"({"a":)" + Entry("[2]", "[0,8]") + R"(,"b":)" + Entry("[1]", "[4,8]") + "}", 8),
      File(R"({"a":)" + Entry("[1]", "[0,4]") + R"(,"a":)" + Entry("[1]", "[0,4]") + "}", 4),
      File(R"({"a":)" + Entry("[1]", "[4,0]") + "}", 4),
      File(R"({"a":)" + Entry("[1]", "[0,4,4]") + "}", 4),
      File(R"({"a":)" + Entry("[-1]", "[0,4]") + "}", 4),
      File(R"({"a":)" + Entry("[1.0]", "[0,4]") + "}", 4),
      File(R"({"a":)" + Entry("[" + huge + "," + huge + "]", "[0,4]") + "}", 4),
      File(R"({"a":)" + Entry("[4611686018427387904,4]", "[0,0]") + "}"),
      File(R"({"a":)" + Entry("[18446744073709551615]", "[0,4]") + "}", 4),
      File(R"({"a":)" + Entry("[1]", "[0," + huge + "]") + "}", 4),
      File(R"({"a":)" + Entry("[1]", "[0,1]", "F8_E4M3") + "}", 1),
      File(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4),
      File(R"({"a":3})"),
      File(R"({"__metadata__":{"a":3}})"),
      File(R"({"__metadata__":[]})"),
      File(R"({"a":)" + std::string(100000, '[')),
      File("{\"\xff\":3}"),
      File("{}"),
      std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)};
  for (const std::string& file : bad) {
    EXPECT_THAT(ErrorOf(file), HasSubstr("test.pth ")) << file.substr(8, 200);
  }
}

}  // namespace
}  // namespace spatialmamba
