#include "clients/cpp/cli.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/clients/cpp/fake_server.h"

namespace spatialmamba {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Ended {
  int exit_code;
  std::string out;
  std::string err;
};

Ended Cli(const std::string& target, const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"spatial-mamba-cli"};
  if (!target.empty()) {
    argv.insert(argv.end(), {"--server", target.c_str()});
  }
  for (const std::string& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  std::ostringstream out;
  std::ostringstream err;
  const int exit_code = RunCommandLine(static_cast<int>(argv.size()), argv.data(), {out, err});
  return {exit_code, out.str(), err.str()};
}

std::string PictureFile(const std::string& name, const std::string& content) {
  const std::string path = testing::TempDir() + "client_cli_test_" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

// An address at which nobody listens: its port is bound to a socket that does not.
class DeadAddress {
 public:
  DeadAddress() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, generic, size), 0);
    EXPECT_EQ(getsockname(socket_, generic, &size), 0);
    target_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  DeadAddress(const DeadAddress&) = delete;
  DeadAddress& operator=(const DeadAddress&) = delete;
  ~DeadAddress() { close(socket_); }
  const std::string& target() const { return target_; }

 private:
  int socket_;
  std::string target_;
};

TEST(Cli, HealthIsTheExitStatus) {
  const FakeServer server;
  EXPECT_EQ(Cli(server.target(), {"health"}).exit_code, kOk);
  EXPECT_EQ(Cli(server.target(), {"health"}).out, "SERVING\n");
  EXPECT_EQ(Cli(server.target(), {"health", "--service", "detect"}).exit_code, kSomeFailed);
  EXPECT_EQ(Cli(server.target(), {"health", "--service", "nothing"}).exit_code, kSomeFailed);
}

TEST(Cli, AnUnreachableServerIsExitStatus3AndNamed) {
  const DeadAddress nobody;
  const std::string file = PictureFile("photo.jpg", "picture");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"health"}, {"models"}, {"classify", file, file}}) {
    const Ended run = Cli(nobody.target(), command);
    EXPECT_EQ(run.exit_code, kUnreachable) << command[0];
    EXPECT_THAT(run.err, HasSubstr(nobody.target()));
  }
}

TEST(Cli, WrongUsageIsExitStatus2) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"fly"},
                                                    {"classify"},
                                                    {"classify", "x", "--top-k", "0"},
                                                    {"health", "--deadline", "soon"}}) {
    EXPECT_EQ(Cli("", arguments).exit_code, kUsage);
  }
}

TEST(Cli, HelpStatesTheExitStatuses) {
  const Ended run = Cli("", {"--help"});
  EXPECT_EQ(run.exit_code, kOk);
  EXPECT_THAT(run.out, HasSubstr("3  the server cannot be reached"));
}

TEST(Cli, TheEnvironmentNamesTheServer) {
  const FakeServer server;
  setenv("SPATIALMAMBA_SERVER", server.target().c_str(), 1);
  EXPECT_EQ(Cli("", {"health"}).exit_code, kOk);
  unsetenv("SPATIALMAMBA_SERVER");
}

TEST(Cli, ModelsAreListed) {
  const FakeServer server;
  const Ended run = Cli(server.target(), {"models"});
  EXPECT_EQ(run.exit_code, kOk);
  EXPECT_THAT(run.out, HasSubstr("clothing  1        classify  custom         1"));
}

TEST(Cli, ClassifySendsTheFileAndTheOptionsAndPrintsATable) {
  FakeServer server;
  const std::string file = PictureFile("photo.jpg", std::string("pict\0ure", 8));
  const Ended run =
      Cli(server.target(), {"classify", file, "--model", "clothing", "--top-k", "2", "--explain"});
  EXPECT_EQ(run.exit_code, kOk) << run.err;
  EXPECT_THAT(run.out, testing::ContainsRegex("photo.jpg +hat +75.0 %"));
  EXPECT_THAT(run.out, testing::ContainsRegex("\n +shoes +25.0 %\n"));
  EXPECT_THAT(run.out, testing::ContainsRegex(" 1\\.5 .* 4 +idle +cpu\n"));
  ASSERT_EQ(server.requests().size(), 1U);
  const v1::ClassifyRequest request = server.requests()[0];
  EXPECT_EQ(request.images(0).encoded(), std::string("pict\0ure", 8));
  EXPECT_EQ(request.model().name(), "clothing");
  EXPECT_EQ(request.top_k(), 2);
  EXPECT_TRUE(request.explain());
}

TEST(Cli, JsonIsOneObjectALine) {
  FakeServer server;
  const std::string file = PictureFile("photo.jpg", "picture");
  const Ended run = Cli(server.target(), {"classify", file, file + ".missing", "--json"});
  EXPECT_EQ(run.exit_code, kSomeFailed);
  std::istringstream lines(run.out);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const nlohmann::json first = nlohmann::json::parse(line);
  EXPECT_EQ(first["classes"][0]["name"], "hat");
  EXPECT_EQ(first["classes"][0]["probability"], 0.75);
  EXPECT_EQ(first["image_size"], (nlohmann::json{{"height", 20}, {"width", 30}}));
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line)["error"]["code"], "LOCAL");
}

TEST(Cli, FilesThatCannotBeReadAreNamedAndDoNotStopTheOthers) {
  FakeServer server;
  const std::string file = PictureFile("photo.jpg", "picture");
  const Ended run = Cli(server.target(), {"classify", file + ".missing", testing::TempDir(), file});
  EXPECT_EQ(run.exit_code, kSomeFailed);
  EXPECT_THAT(run.err, HasSubstr(".missing: cannot be read: No such file"));
  EXPECT_THAT(run.err, HasSubstr("folder"));
  EXPECT_THAT(run.out, HasSubstr("hat"));
}

TEST(Cli, AnErrorShowsCodeMessageReasonAndFields) {
  FakeServer server;
  server.set_on_classify([](int, grpc::ServerContext&, v1::ClassifyResponse&) {
    google::rpc::ErrorInfo info;
    info.set_reason("IMAGE_DECODE_FAILED");
    google::rpc::BadRequest request;
    auto& violation = *request.add_field_violations();
    violation.set_field("images[0].encoded");
    violation.set_description("the file ends early");
    return Refusal(grpc::StatusCode::INVALID_ARGUMENT, "not a picture", {&info, &request});
  });
  const std::string file = PictureFile("bad.jpg", "picture");
  const Ended run = Cli(server.target(), {"classify", file});
  EXPECT_EQ(run.exit_code, kSomeFailed);
  EXPECT_EQ(run.err, file +
                         ": INVALID_ARGUMENT: not a picture [IMAGE_DECODE_FAILED]\n"
                         "  images[0].encoded: the file ends early\n");
  EXPECT_THAT(run.out, IsEmpty());
}

TEST(Cli, WhatAMessageSaysIsNotSaidAgainForItsField) {
  EXPECT_EQ(Render({.code = grpc::StatusCode::INVALID_ARGUMENT,
                    .message = "images[0]: no bytes",
                    .field_violations = {{"images[0]", "no bytes"}}}),
            "INVALID_ARGUMENT: images[0]: no bytes");
}

TEST(Cli, DetailsOfAnotherMakeDoNotHideTheError) {
  FakeServer server;
  server.set_on_classify([](int, grpc::ServerContext&, v1::ClassifyResponse&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no model x", "\xff\xff\xff");
  });
  const Ended run = Cli(server.target(), {"classify", PictureFile("photo.jpg", "picture")});
  EXPECT_THAT(run.err, HasSubstr("NOT_FOUND: no model x"));
}

// 1 MiB is above what gRPC would retry by itself.
TEST(Cli, ABusyServerIsAskedAgainWhenItSays) {
  for (const size_t size : {size_t{100}, size_t{1} << 20}) {
    FakeServer server;
    server.set_on_classify(
        [](int call, grpc::ServerContext& context, v1::ClassifyResponse& response) {
          if (call < 2) {
            return Busy(context, 20);
          }
          response.add_results()->add_classes()->set_name("at last");
          return grpc::Status::OK;
        });
    const Ended run =
        Cli(server.target(), {"classify", PictureFile("photo.jpg", std::string(size, 'x'))});
    EXPECT_EQ(run.exit_code, kOk) << run.err;
    EXPECT_THAT(run.out, HasSubstr("at last"));
    EXPECT_EQ(server.requests().size(), 3U);
  }
}

TEST(Cli, AServerThatStaysBusyIsGivenUpWithReasonAndDelay) {
  FakeServer server;
  server.set_on_classify(
      [](int, grpc::ServerContext& context, v1::ClassifyResponse&) { return Busy(context, 20); });
  const Ended run = Cli(server.target(), {"classify", PictureFile("photo.jpg", "picture")});
  EXPECT_EQ(run.exit_code, kSomeFailed);
  EXPECT_THAT(run.err, HasSubstr("UNAVAILABLE: the queue is full [QUEUE_FULL]"));
  EXPECT_THAT(run.err, HasSubstr("try again in 0.02 s"));
  EXPECT_EQ(server.requests().size(), 5U);
}

TEST(Cli, AnAnswerWithoutResultIsAnErrorAndNoCrash) {
  FakeServer server;
  server.set_on_classify(
      [](int, grpc::ServerContext&, v1::ClassifyResponse&) { return grpc::Status::OK; });
  const Ended run = Cli(server.target(), {"classify", PictureFile("photo.jpg", "picture")});
  EXPECT_EQ(run.exit_code, kSomeFailed);
  EXPECT_THAT(run.err, HasSubstr("0 results"));
}

std::string Content(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Cli, DetectSendsItsOptionsPrintsATableAndDraws) {
  const FakeServer server;
  const std::string file = PictureFile("cat.jpg", "bytes of a cat");
  const std::filesystem::path folder = testing::TempDir() + "client_cli_test_drawn";
  std::filesystem::remove_all(folder);
  const Ended ended =
      Cli(server.target(), {"detect", file, "--score-threshold", "0.25", "--max-results", "9",
                            "--classes", "1,4", "--masks", "polygon", "--save-dir", folder});
  EXPECT_EQ(ended.exit_code, kOk) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("cat"));
  EXPECT_THAT(ended.out, HasSubstr("75.0 %"));
  const v1::DetectRequest request = server.last_detect();
  EXPECT_EQ(request.images(0).encoded(), "bytes of a cat");
  EXPECT_FLOAT_EQ(request.score_threshold(), 0.25F);
  EXPECT_EQ(request.max_results(), 9);
  EXPECT_EQ(request.class_indices_size(), 2);
  EXPECT_EQ(request.class_indices(1), 4);
  EXPECT_EQ(request.mask_encoding(), v1::MASK_ENCODING_POLYGON);
  EXPECT_THAT(Content(folder / "client_cli_test_cat.svg"), HasSubstr("cat 75.0 %"));
}

TEST(Cli, DetectLeavesToTheModelWhatIsNotGiven) {
  const FakeServer server;
  const Ended ended = Cli(server.target(), {"detect", PictureFile("cat.jpg", "bytes"), "--json"});
  EXPECT_FALSE(server.last_detect().has_score_threshold());
  EXPECT_FALSE(server.last_detect().has_max_results());
  EXPECT_EQ(server.last_detect().mask_encoding(), v1::MASK_ENCODING_UNSPECIFIED);
  const auto json = nlohmann::json::parse(ended.out);
  EXPECT_EQ(json["objects"][0]["category_id"], 17);
  EXPECT_EQ(json["objects"][0]["mask"]["counts"], "222");
}

TEST(Cli, SegmentPrintsTheLargestClassFirstAndSavesTheMap) {
  const FakeServer server;
  const std::filesystem::path folder = testing::TempDir() + "client_cli_test_maps";
  std::filesystem::remove_all(folder);
  const std::string file = PictureFile("street.jpg", "bytes");
  const Ended ended = Cli(server.target(), {"segment", file, file, "--save-dir", folder});
  EXPECT_EQ(ended.exit_code, kOk) << ended.err;
  EXPECT_LT(ended.out.find("sky"), ended.out.find("road"));
  EXPECT_THAT(ended.out, HasSubstr("66.7 %"));
  // The second file of the same name is numbered.
  EXPECT_EQ(Content(folder / "client_cli_test_street.labels.png"), "a PNG file");
  EXPECT_EQ(Content(folder / "client_cli_test_street-2.labels.png"), "a PNG file");
}

TEST(Cli, TilingIsSentWhenASizeIsGivenAndOnlyThen) {
  const FakeServer server;
  const std::string file = PictureFile("large.jpg", "bytes");
  Cli(server.target(), {"detect", file, "--tile-size", "512", "--tile-overlap", "0"});
  EXPECT_EQ(server.last_detect().tiling().tile_size(), 512);
  EXPECT_TRUE(server.last_detect().tiling().has_overlap());
  Cli(server.target(), {"detect", file, "--tile-size", "256"});
  EXPECT_EQ(server.last_detect().tiling().tile_size(), 256);
  EXPECT_FALSE(server.last_detect().tiling().has_overlap());
  Cli(server.target(), {"detect", file});
  EXPECT_FALSE(server.last_detect().has_tiling());
  EXPECT_EQ(Cli(server.target(), {"segment", file, "--tile-overlap", "9"}).exit_code, kUsage);
}

TEST(Cli, WrongDetectOptionsAreWrongUsage) {
  EXPECT_EQ(Cli("localhost:1", {"detect", "x.jpg", "--masks", "bitmap"}).exit_code, kUsage);
  EXPECT_EQ(Cli("localhost:1", {"detect", "x.jpg", "--score-threshold", "2"}).exit_code, kUsage);
  EXPECT_EQ(Cli("localhost:1", {"segment", "x.jpg", "--save-dir", "/dev/null/x"}).exit_code,
            kUsage);
}

}  // namespace
}  // namespace spatialmamba
