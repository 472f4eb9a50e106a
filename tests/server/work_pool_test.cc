#include "server/work_pool.h"

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

TimePoint At(int second) { return TimePoint() + std::chrono::seconds(second); }

WorkPool::Job MakeJob(int deadline, std::function<void()> run) {
  return {.deadline = At(deadline), .run = std::move(run), .fail = [](auto) {}};
}

TEST(WorkPool, RunsTheEarliestDeadlineFirst) {
  std::vector<int> order;
  {
    std::promise<void> gate;
    WorkPool pool(1);
    pool.Add(MakeJob(0, [&] { gate.get_future().wait(); }));
    for (const int deadline : {5, 2, 9, 2}) {
      pool.Add(MakeJob(deadline, [&, deadline] { order.push_back(deadline); }));
    }
    gate.set_value();
  }
  EXPECT_EQ(order, (std::vector<int>{2, 2, 5, 9}));
}

TEST(WorkPool, RunsAllThatWasAddedBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    WorkPool pool(3);
    for (int i = 0; i < 200; ++i) pool.Add(MakeJob(i, [&] { ++done; }));
  }
  EXPECT_EQ(done, 200);
}

TEST(WorkPool, HandsAnExceptionToItsJob) {
  std::promise<std::string> message;
  WorkPool pool(1);
  pool.Add({.run = [] { throw std::runtime_error("broken"); },
            .fail =
                [&](const std::exception_ptr& exception) {
                  try {
                    std::rethrow_exception(exception);
                  } catch (const std::runtime_error& error) {
                    message.set_value(error.what());
                  }
                }});
  EXPECT_EQ(message.get_future().get(), "broken");
  std::promise<void> next;
  pool.Add(MakeJob(1, [&] { next.set_value(); }));
  next.get_future().wait();
}

}  // namespace
}  // namespace spatialmamba
