#include "server/devices.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const CudaDevice kGood{.name = "NVIDIA H100 (sm_90, 80 GiB)", .why_unusable = ""};
const CudaDevice kOld{.name = "Tesla T4 (sm_75, 15 GiB)",
                      .why_unusable = "its compute capability is 7.5"};
const CudaDevices kNone{.devices = {}, .why_none = "no NVIDIA driver is installed"};

Devices Choose(const DeviceConfig& config, const CudaDevices& found) {
  const absl::StatusOr<Devices> devices = ChooseDevices(config, found);
  EXPECT_TRUE(devices.ok()) << devices.status();
  return devices.value_or(Devices());
}

std::string Error(const DeviceConfig& config, const CudaDevices& found) {
  const absl::StatusOr<Devices> devices = ChooseDevices(config, found);
  return devices.ok() ? "none" : std::string(devices.status().message());
}

TEST(Devices, AutoIsEveryUsableGpuElseTheCpuAndWhy) {
  const Devices gpus = Choose({}, {.devices = {kGood, kOld, kGood}, .why_none = ""});
  EXPECT_THAT(gpus.gpus, ElementsAre(0, 2));
  EXPECT_THAT(gpus.names, ElementsAre("cuda:0", "cuda:2"));
  const Devices cpu = Choose({}, kNone);
  EXPECT_THAT(cpu.gpus, IsEmpty());
  EXPECT_THAT(cpu.names, ElementsAre("cpu"));
  EXPECT_EQ(cpu.why_cpu, kNone.why_none);
  EXPECT_EQ(Choose({}, {.devices = {kOld}, .why_none = ""}).why_cpu,
            "cuda:0 is Tesla T4 (sm_75, 15 GiB): its compute capability is 7.5");
}

TEST(Devices, TheCpuIsTakenWhereItIsAskedFor) {
  const Devices cpu = Choose({.kind = DeviceKind::kCpu}, {.devices = {kGood}, .why_none = ""});
  EXPECT_THAT(cpu.names, ElementsAre("cpu"));
  EXPECT_THAT(cpu.why_cpu, IsEmpty());
}

TEST(Devices, GpusThatAreAskedForComeInTheirOrder) {
  const CudaDevices two{.devices = {kGood, kGood}, .why_none = ""};
  EXPECT_THAT(Choose({.kind = DeviceKind::kCuda}, two).gpus, ElementsAre(0, 1));
  EXPECT_THAT(Choose({.kind = DeviceKind::kCuda, .cuda = {1, 0}}, two).names,
              ElementsAre("cuda:1", "cuda:0"));
}

TEST(Devices, AGpuThatIsAskedForAndCannotBeUsedIsAnErrorThatSaysWhy) {
  const auto remedy = HasSubstr("write `device: cpu`");
  EXPECT_THAT(Error({.kind = DeviceKind::kCuda}, kNone),
              AllOf(HasSubstr("device: cuda cannot be used: no NVIDIA driver"), remedy));
  EXPECT_THAT(Error({.kind = DeviceKind::kCuda, .cuda = {0}}, kNone),
              AllOf(HasSubstr("cuda:0 cannot be used: no NVIDIA driver"), remedy));
  const CudaDevices both{.devices = {kGood, kOld}, .why_none = ""};
  EXPECT_THAT(Error({.kind = DeviceKind::kCuda, .cuda = {3}}, both),
              AllOf(HasSubstr("cuda:3 cannot be used: there is no such GPU; cuda:0 is NVIDIA H100"),
                    HasSubstr("cuda:1 is Tesla T4"), remedy));
  EXPECT_THAT(Error({.kind = DeviceKind::kCuda, .cuda = {0, 1}}, both),
              AllOf(HasSubstr("cuda:1 is Tesla T4"), HasSubstr("capability is 7.5"), remedy));
  EXPECT_THAT(Error({.kind = DeviceKind::kCuda}, {.devices = {kOld}, .why_none = ""}),
              AllOf(HasSubstr("Tesla T4"), remedy));
}

}  // namespace
}  // namespace spatialmamba
