#include "tests/server/running_app.h"

#include <chrono>
#include <thread>
#include <utility>

#include "server/log.h"

namespace spatialmamba {

std::unique_ptr<App> StartApp(const std::string& yaml, const std::filesystem::path& folder) {
  const absl::StatusOr<Config> config =
      ParseConfig(yaml, {.name = "test.yaml", .base_dir = folder, .overrides = {"device=cpu"}});
  if (!config.ok()) {
    ADD_FAILURE() << config.status();
    return nullptr;
  }
  ConfigureLog(config->log);
  absl::StatusOr<std::unique_ptr<App>> app = App::Start(*config);
  if (!app.ok()) {
    ADD_FAILURE() << app.status();
    return nullptr;
  }
  return *std::move(app);
}

void RunningApp::Start(const std::string& more, const TinyModel& model) {
  WriteTinyModel(folder_.path() / "tiny.safetensors", model);
  app_ = StartApp(
      "listen: 127.0.0.1:0\n"
      "admin: 127.0.0.1:0\n"
      "log: {level: error}\n"
      "threads: 2\n"
      "decode_threads: 2\n"
      "models: [{name: tiny, weights: tiny.safetensors}]\n" +
          more,
      folder_.path());
  ASSERT_NE(app_, nullptr);
  client_ = std::make_unique<TestClient>(app_->grpc_address().port);
}

::testing::AssertionResult RunningApp::Eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < limit) {
    if (condition()) return ::testing::AssertionSuccess();
    std::this_thread::yield();
  }
  return ::testing::AssertionFailure() << "did not come true within a minute";
}

}  // namespace spatialmamba
