#pragma once

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "server/app.h"
#include "tests/server/client.h"
#include "tests/server/tiny_model.h"

namespace spatialmamba {

// A server within the test, on loopback, with the tiny model under the name "tiny".
class RunningApp : public ::testing::Test {
 protected:
  // `more`: further lines of the configuration.
  void Start(const std::string& more = "", const TinyModel& model = {});

  std::string MetricsPage() { return app_->metrics().Serialize(); }
  double Metric(const std::string& series) { return MetricValue(MetricsPage(), series); }
  // Waits until it holds, for a minute at most.
  static ::testing::AssertionResult Eventually(const std::function<bool()>& condition);

  ScratchFolder folder_;
  std::unique_ptr<App> app_;
  std::unique_ptr<TestClient> client_;
};

// Ends with a test failure, and an empty pointer, if the server does not start.
std::unique_ptr<App> StartApp(const std::string& yaml, const std::filesystem::path& folder);

}  // namespace spatialmamba
