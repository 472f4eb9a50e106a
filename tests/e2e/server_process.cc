#include "tests/e2e/server_process.h"

#include <fcntl.h>
#include <httplib.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/server/tiny_model.h"

namespace spatialmamba {
namespace {

std::string ReadText(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

// In the child: only system calls.
[[noreturn]] void Execute(char* const* arguments, const char* output, const char* log) {
  const int out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execv(SPATIALMAMBA_SERVER_BINARY, arguments);
  _exit(127);
}

int MillisecondsUntil(std::chrono::steady_clock::time_point limit) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      limit - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

}  // namespace

ServerProcess::ServerProcess(const std::filesystem::path& folder,
                             const std::vector<std::string>& arguments)
    : folder_(folder) {
  watch_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify_add_watch(watch_, folder_.c_str(), IN_MOVED_TO) < 0) {
    throw std::runtime_error("cannot watch " + folder_.string());
  }
  std::vector<std::string> words = {SPATIALMAMBA_SERVER_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string output = folder_ / "stdout";
  const std::string log = folder_ / "stderr";
  pid_ = fork();
  if (pid_ == 0) Execute(pointers.data(), output.c_str(), log.c_str());
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) throw std::runtime_error("cannot watch the process");
}

ServerProcess::~ServerProcess() {
  if (!ended_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(pidfd_);
  close(watch_);
}

void ServerProcess::Signal(int signal) const { kill(pid_, signal); }

std::optional<int> ServerProcess::Wait() {
  if (ended_) return exit_code_;
  pollfd end{.fd = pidfd_, .events = POLLIN};
  if (poll(&end, 1, 60'000) != 1) return std::nullopt;
  int status = 0;
  waitpid(pid_, &status, 0);
  ended_ = true;
  if (WIFEXITED(status)) exit_code_ = WEXITSTATUS(status);
  return exit_code_;
}

bool ServerProcess::WaitForFile(const std::string& name) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!std::filesystem::exists(folder_ / name)) {
    pollfd events[] = {{.fd = watch_, .events = POLLIN}, {.fd = pidfd_, .events = POLLIN}};
    if (poll(events, 2, MillisecondsUntil(limit)) < 1 || (events[1].revents & POLLIN) != 0) {
      return false;
    }
    char buffer[4096];
    while (read(watch_, buffer, sizeof(buffer)) > 0) {
    }
  }
  return true;
}

std::string ServerProcess::Output() const { return ReadText(folder_ / "stdout"); }
std::string ServerProcess::Log() const { return ReadText(folder_ / "stderr"); }

std::string BaseConfig() {
  return "listen: 127.0.0.1:0\n"
         "admin: 127.0.0.1:0\n"
         "device: cpu\n"
         "threads: 2\n"
         "decode_threads: 2\n"
         "models: [{name: tiny, weights: tiny.safetensors}]\n";
}

RunningServer::RunningServer(const std::filesystem::path& folder, const std::string& more)
    : ServerProcess((WriteTinyModel(folder / "tiny.safetensors"),
                     std::ofstream(folder / "config.yaml") << BaseConfig() << more, folder),
                    {"--config", folder / "config.yaml", "--ports-file", folder / "ports.json"}) {
  if (!WaitForFile("ports.json")) return;
  const std::string ports = ReadText(folder / "ports.json");
  ready_ =
      std::sscanf(ports.c_str(), R"({"grpc": %d, "admin": %d})", &grpc_port_, &admin_port_) == 2;
}

RunningServer::Page RunningServer::Get(const std::string& path) const {
  httplib::Client client("127.0.0.1", admin_port_);
  client.set_read_timeout(30);
  const httplib::Result result = client.Get(path.c_str());
  if (!result) return {};
  return {result->status, result->body};
}

}  // namespace spatialmamba
