#include <gtest/gtest.h>

#include "model/runtime/cuda_devices.h"

namespace spatialmamba {
namespace {

TEST(RunsOn, MachineCodeRunsOnLaterMinorRevisionsAndIntermediateCodeOnAllThatCameLater) {
  constexpr const char* kShipped = "80-real,86-real,89-real,90";
  for (const auto& [major, minor] : {std::pair{8, 0}, {8, 6}, {8, 7}, {8, 9}, {9, 0}, {12, 0}}) {
    EXPECT_TRUE(RunsOn(kShipped, major, minor)) << major << "." << minor;
  }
  for (const auto& [major, minor] : {std::pair{7, 0}, {7, 5}}) {
    EXPECT_FALSE(RunsOn(kShipped, major, minor)) << major << "." << minor;
  }
  EXPECT_FALSE(RunsOn("80-real", 9, 0));
  EXPECT_TRUE(RunsOn("80-virtual", 9, 0));
  EXPECT_FALSE(RunsOn("86-real", 8, 0));
  EXPECT_FALSE(RunsOn("90", 8, 9));
}

TEST(RunsOn, CodeOfOneArchitectureRunsOnThatAlone) {
  EXPECT_TRUE(RunsOn("80-real,90a", 9, 0));
  EXPECT_FALSE(RunsOn("90a", 10, 0));
  EXPECT_FALSE(RunsOn("", 9, 0));
  EXPECT_FALSE(RunsOn("native", 9, 0));
}

}  // namespace
}  // namespace spatialmamba
