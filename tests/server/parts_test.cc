// The small parts of the service: trace ids, memory limits, load reports.
#include <chrono>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "server/load_meter.h"
#include "server/memory.h"
#include "server/trace.h"
#include "tests/server/tiny_model.h"
#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace spatialmamba {
namespace {

class FixedClock final : public Clock {
 public:
  TimePoint Now() const override { return now; }
  bool WaitUntil(std::unique_lock<std::mutex>&, std::condition_variable&, TimePoint,
                 absl::FunctionRef<bool()> ready) override {
    return ready();
  }
  TimePoint now = TimePoint() + std::chrono::hours(1);
};

xds::data::orca::v3::OrcaLoadReport Parse(const LoadMeter& meter) {
  xds::data::orca::v3::OrcaLoadReport report;
  EXPECT_TRUE(report.ParseFromString(meter.Report()));
  return report;
}

TEST(Trace, TakesTheIdOfAValidTraceparentOnly) {
  const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
  EXPECT_EQ(TraceIdOf("00-" + id + "-00f067aa0ba902b7-01"), id);
  EXPECT_EQ(TraceIdOf("01-" + id + "-00f067aa0ba902b7-01-more"), id);
  EXPECT_FALSE(TraceIdOf(""));
  EXPECT_FALSE(TraceIdOf("00-" + id + "-00f067aa0ba902b7-01-more"));
  EXPECT_FALSE(TraceIdOf("ff-" + id + "-00f067aa0ba902b7-01"));
  EXPECT_FALSE(TraceIdOf("00-" + std::string(32, '0') + "-00f067aa0ba902b7-01"));
  EXPECT_FALSE(TraceIdOf("00-" + id + "-0000000000000000-01"));
  EXPECT_FALSE(TraceIdOf("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"));
}

TEST(Trace, MakesValidIdsThatDiffer) {
  const std::string id = NewTraceId();
  EXPECT_EQ(TraceIdOf("00-" + id + "-00f067aa0ba902b7-01"), id);
  EXPECT_NE(id, NewTraceId());
}

TEST(Memory, IsTheLeastOfMachineAndGroups) {
  const ScratchFolder root;
  const auto write = [&](const std::filesystem::path& file, const std::string& text) {
    std::filesystem::create_directories((root.path() / file).parent_path());
    std::ofstream(root.path() / file) << text;
  };
  write("proc/meminfo", "MemTotal:       4000 kB\nMemFree: 100 kB\nMemAvailable:   3000 kB\n");
  EXPECT_EQ(UsableMemory(root.path()), 3000 * 1024);
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(UsableMemory(root.path()), 3000 * 1024);
  write("proc/self/cgroup", "0::/pod/container\n");
  write("sys/fs/cgroup/pod/memory.max", "2000000\n");
  EXPECT_EQ(UsableMemory(root.path()), 2'000'000);
  write("sys/fs/cgroup/pod/container/memory.max", "1000000\n");
  EXPECT_EQ(UsableMemory(root.path()), 1'000'000);
}

TEST(LoadMeter, ReportsUtilisationAndRatesOfLate) {
  FixedClock clock;
  LoadMeter meter(clock, 2);
  EXPECT_EQ(Parse(meter).application_utilization(), 0);
  for (int i = 0; i < 600; ++i) {  // a minute: one device busy all the time, 10 requests a second
    clock.now += std::chrono::milliseconds(100);
    meter.CountBusy(std::chrono::milliseconds(100));
    meter.CountRequest(i % 10 == 0);
  }
  EXPECT_NEAR(Parse(meter).application_utilization(), 0.5, 0.02);
  EXPECT_NEAR(Parse(meter).rps_fractional(), 10, 0.5);
  EXPECT_NEAR(Parse(meter).eps(), 1, 0.2);
  clock.now += std::chrono::minutes(1);
  EXPECT_LT(Parse(meter).rps_fractional(), 0.01);
}

}  // namespace
}  // namespace spatialmamba
