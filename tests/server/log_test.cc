#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "nlohmann/json.hpp"

namespace spatialmamba {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;
using namespace std::chrono_literals;

class LogTest : public ::testing::Test {
 protected:
  Logger MakeLogger(const LogConfig& config) {
    return Logger(config, std::make_shared<spdlog::sinks::ostream_sink_mt>(out_));
  }
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    std::istringstream in(out_.str());
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  std::ostringstream out_;
};

TEST_F(LogTest, TextLineHoldsTimeLevelEventAndFields) {
  Logger logger = MakeLogger({});
  logger.Log(LogLevel::kInfo, "request",
             {{"method", "Classify"},
              {"images", 3},
              {"ok", true},
              {"total_seconds", 1500ms},
              {"share", 0.25}});
  ASSERT_EQ(Lines().size(), 1U);
  EXPECT_THAT(
      Lines()[0],
      MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z info request "
                   "method=Classify images=3 ok=true total_seconds=1.5 share=0.25"));
}

TEST_F(LogTest, TextLineStaysOneLineWhateverAValueHolds) {
  Logger logger = MakeLogger({});
  logger.Log(LogLevel::kError, "bad", {{"name", "a\nb \"c\"\x1b[31m\xff"}, {"empty", ""}});
  ASSERT_EQ(Lines().size(), 1U);
  EXPECT_THAT(Lines()[0], EndsWith("name=\"a\\nb \\\"c\\\"\\u001b[31m\xef\xbf\xbd\" empty=\"\""));
}

TEST_F(LogTest, JsonLineParsesBackToItsFields) {
  Logger logger = MakeLogger({.format = LogFormat::kJson});
  logger.Log(LogLevel::kWarning, "slow",
             {{"name", "a\n\"b\"\xff"},
              {"count", size_t{7}},
              {"infinite", std::numeric_limits<double>::infinity()}});
  ASSERT_EQ(Lines().size(), 1U);
  const nlohmann::json line = nlohmann::json::parse(Lines()[0]);
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["event"], "slow");
  EXPECT_EQ(line["name"], "a\n\"b\"\xef\xbf\xbd");
  EXPECT_EQ(line["count"], 7);
  EXPECT_TRUE(line["infinite"].is_null());
  EXPECT_TRUE(line.contains("time"));
}

TEST_F(LogTest, LinesBelowTheLevelAreDropped) {
  Logger logger = MakeLogger({.level = LogLevel::kWarning});
  logger.Log(LogLevel::kDebug, "a");
  logger.Log(LogLevel::kInfo, "b");
  logger.Log(LogLevel::kWarning, "c");
  logger.Log(LogLevel::kError, "d");
  EXPECT_EQ(Lines().size(), 2U);
  EXPECT_FALSE(logger.Enabled(LogLevel::kInfo));
  EXPECT_TRUE(logger.Enabled(LogLevel::kError));
}

TEST_F(LogTest, SampleTakesTheConfiguredShare) {
  for (const auto& [share, expected] :
       std::vector<std::pair<double, int>>{{0, 0}, {0.25, 250}, {0.1, 100}, {1, 1000}}) {
    Logger logger = MakeLogger({.sample = share});
    int taken = 0;
    for (int i = 0; i < 1000; ++i) taken += logger.Sample() ? 1 : 0;
    EXPECT_NEAR(taken, expected, 1) << share;
  }
}

TEST_F(LogTest, LinesOfSeveralThreadsDoNotMix) {
  Logger logger = MakeLogger({.format = LogFormat::kJson});
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&logger, t] {
        for (int i = 0; i < 100; ++i)
          logger.Log(LogLevel::kInfo, "tick", {{"thread", t}, {"i", i}});
      });
    }
  }
  EXPECT_EQ(Lines().size(), 400U);
  for (const std::string& line : Lines()) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

TEST(ProcessLog, WritesToStandardErrorAsConfigured) {
  ::testing::internal::CaptureStderr();
  ConfigureLog({.level = LogLevel::kError, .format = LogFormat::kJson});
  Log(LogLevel::kInfo, "quiet");
  Log(LogLevel::kError, "loud", {{"key", "value"}});
  ConfigureLog({});
  const nlohmann::json line = nlohmann::json::parse(::testing::internal::GetCapturedStderr());
  EXPECT_EQ(line["event"], "loud");
  EXPECT_EQ(line["key"], "value");
}

}  // namespace
}  // namespace spatialmamba
