#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

namespace spatialmamba {
namespace {

// Fields of /proc/self/stat; see proc(5).
struct ProcessStat {
  double cpu_ticks = 0;
  double threads = 0;
  double start_ticks = 0;
  double virtual_bytes = 0;
  double resident_pages = 0;
};

std::optional<ProcessStat> ReadProcessStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The second field, the program's name in brackets, may hold blanks and brackets.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  constexpr int kFirstField = 3;
  constexpr int kLastField = 24;
  ProcessStat stat;
  std::string field;
  for (int number = kFirstField; number <= kLastField; ++number) {
    if (!(fields >> field)) return std::nullopt;
    if (number == 14 || number == 15) stat.cpu_ticks += std::stod(field);
    if (number == 20) stat.threads = std::stod(field);
    if (number == 22) stat.start_ticks = std::stod(field);
    if (number == 23) stat.virtual_bytes = std::stod(field);
    if (number == 24) stat.resident_pages = std::stod(field);
  }
  return stat;
}

// Seconds since 1970.
std::optional<double> ReadBootTime() {
  std::ifstream file("/proc/stat");
  std::string key;
  double value = 0;
  while (file >> key) {
    if (key == "btime" && file >> value) return value;
    std::getline(file, key);
  }
  return std::nullopt;
}

std::optional<double> CountOpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  double count = -1;  // the iterator itself holds one open
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) ++count;
  if (error) return std::nullopt;
  return count;
}

void Add(const char* name, const char* help, prometheus::MetricType type, double value,
         std::vector<prometheus::MetricFamily>& families) {
  prometheus::MetricFamily& family = families.emplace_back();
  family.name = name;
  family.help = help;
  family.type = type;
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

}  // namespace

std::vector<prometheus::MetricFamily> CollectProcessMetrics() {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  if (const std::optional<ProcessStat> stat = ReadProcessStat()) {
    const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
    Add("process_cpu_seconds_total", "User and system CPU time spent, in seconds.",
        MetricType::Counter, stat->cpu_ticks / ticks_per_second, families);
    Add("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
        stat->resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)), families);
    Add("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, stat->virtual_bytes,
        families);
    Add("process_threads", "Threads of the process.", MetricType::Gauge, stat->threads, families);
    if (const std::optional<double> boot = ReadBootTime()) {
      Add("process_start_time_seconds", "Start of the process, in seconds since 1970.",
          MetricType::Gauge, *boot + stat->start_ticks / ticks_per_second, families);
    }
  }
  if (const std::optional<double> files = CountOpenFiles()) {
    Add("process_open_fds", "Open file descriptors.", MetricType::Gauge, *files, families);
  }
  if (rlimit limit = {}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    Add("process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
        static_cast<double>(limit.rlim_cur), families);
  }
  return families;
}

}  // namespace spatialmamba
