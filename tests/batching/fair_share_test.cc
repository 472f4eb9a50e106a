#include "batching/fair_share.h"

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kNow{std::chrono::hours(1)};
constexpr uint64_t kFlood = 1;
constexpr uint64_t kOther = 2;

// Offers `share` of a device's time for four seconds before kNow.
void Ask(FairShare& shares, uint64_t party, double share) {
  for (int i = 0; i < 400; ++i) {
    shares.Offer(party,
                 std::chrono::duration_cast<Duration>(std::chrono::duration<double>(share * 0.01)),
                 kNow - seconds(4) + milliseconds(10 * i));
  }
}

TEST(FairShare, WhoIsAloneLeavesNothing) {
  FairShare shares;
  Ask(shares, kFlood, 10);
  shares.Hold(kFlood, seconds(1));
  EXPECT_EQ(shares.Reserved(kFlood, milliseconds(10), seconds(1), 1, kNow), Duration::zero());
}

TEST(FairShare, WithinTheEqualPartNothingIsAskedOfAnybody) {
  FairShare shares;
  Ask(shares, kFlood, 10);
  Ask(shares, kOther, 10);
  shares.Hold(kFlood, milliseconds(400));
  EXPECT_EQ(shares.Reserved(kFlood, milliseconds(100), seconds(1), 1, kNow), Duration::zero());
}

TEST(FairShare, BeyondItWhatOthersAskForIsKeptForThem) {
  FairShare shares;
  Ask(shares, kFlood, 10);
  Ask(shares, kOther, 0.2);
  shares.Hold(kFlood, milliseconds(600));
  const Duration kept = shares.Reserved(kFlood, milliseconds(10), seconds(1), 1, kNow);
  EXPECT_NEAR(std::chrono::duration<double>(kept).count(), 0.24, 0.03);
  // What they hold already is not kept again.
  shares.Hold(kOther, milliseconds(150));
  const Duration less = shares.Reserved(kFlood, milliseconds(10), seconds(1), 1, kNow);
  EXPECT_NEAR(std::chrono::duration<double>(kept - less).count(), 0.15, 1e-6);
}

TEST(FairShare, NobodyKeepsMoreThanAnEqualPart) {
  FairShare shares;
  Ask(shares, kFlood, 10);
  Ask(shares, kOther, 10);
  shares.Hold(kFlood, milliseconds(600));
  const Duration kept = shares.Reserved(kFlood, milliseconds(10), seconds(1), 1, kNow);
  EXPECT_EQ(kept, milliseconds(500));
}

TEST(FairShare, WhoHasGoneIsForgotten) {
  FairShare shares;
  Ask(shares, kOther, 0.5);
  shares.Offer(kFlood, seconds(10), kNow + seconds(60));
  shares.Hold(kFlood, seconds(10));
  EXPECT_EQ(shares.Reserved(kFlood, seconds(1), seconds(1), 1, kNow + seconds(60)),
            Duration::zero());
}

TEST(FairShare, DemandIsWhatIsOfferedPerSecond) {
  FairShare shares;
  EXPECT_EQ(shares.Demand(kNow), 0);
  Ask(shares, kFlood, 0.5);
  Ask(shares, kOther, 0.25);
  EXPECT_NEAR(shares.Demand(kNow), 0.75, 0.02);
  EXPECT_LT(shares.Demand(kNow + seconds(10)), 0.1);
}

}  // namespace
}  // namespace spatialmamba
