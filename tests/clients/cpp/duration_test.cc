#include "clients/cpp/duration.h"

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::chrono_literals::operator""ms;

TEST(Duration, UnitsAreRead) {
  EXPECT_EQ(ParseDuration("500ms"), 500ms);
  EXPECT_EQ(ParseDuration("5s"), 5000ms);
  EXPECT_EQ(ParseDuration("1.5s"), 1500ms);
  EXPECT_EQ(ParseDuration("2m"), 120000ms);
  EXPECT_EQ(ParseDuration("3"), 3000ms);
}

TEST(Duration, WhatIsNoPositiveDurationIsRefused) {
  for (const char* text : {"", "s", "0", "-1s", "5x", "5 s", "nan", "inf", "1e300s", "25000m"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(Duration, IsWrittenInSeconds) {
  EXPECT_EQ(FormatSeconds(250ms), "0.25 s");
  EXPECT_EQ(FormatSeconds(2000ms), "2 s");
}

}  // namespace
}  // namespace spatialmamba
