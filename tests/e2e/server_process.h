#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spatialmamba {

// The real program as a child of the test, on loopback. Killed with the object.
class ServerProcess {
 public:
  // Runs it with these arguments; its output goes to files in `folder`.
  ServerProcess(const std::filesystem::path& folder, const std::vector<std::string>& arguments);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  void Signal(int signal) const;
  // The exit code; nothing if it did not end within a minute, or ended by a signal.
  std::optional<int> Wait();

  std::string Output() const;  // on standard output, so far
  std::string Log() const;     // on standard error, so far

 protected:
  // Waits for that file in `folder` or the end of the process; at most two minutes.
  bool WaitForFile(const std::string& name);

  const std::filesystem::path folder_;

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int watch_ = -1;  // of the folder
  std::optional<int> exit_code_;
  bool ended_ = false;
};

// One that serves, started from a configuration file.
class RunningServer : public ServerProcess {
 public:
  // Writes the configuration: loopback, free ports, the tiny model, then `more`.
  RunningServer(const std::filesystem::path& folder, const std::string& more = "");

  bool ready() const { return ready_; }
  int grpc_port() const { return grpc_port_; }
  int admin_port() const { return admin_port_; }

  struct Page {
    int code = 0;  // of HTTP; 0: no answer
    std::string text;
  };
  Page Get(const std::string& path) const;

 private:
  bool ready_ = false;
  int grpc_port_ = 0;
  int admin_port_ = 0;
};

// What every server of these tests is told.
std::string BaseConfig();

}  // namespace spatialmamba
