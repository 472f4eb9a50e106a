#include "server/ports_file.h"

#include <unistd.h>

#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace spatialmamba {

absl::Status WritePortsFile(const std::filesystem::path& file, int grpc, int admin) {
  const std::filesystem::path unfinished = absl::StrCat(file.string(), ".tmp-", getpid());
  std::error_code error;
  {
    std::ofstream out(unfinished, std::ios::trunc);
    out << "{\"grpc\": " << grpc << ", \"admin\": " << admin << "}\n";
    out.close();
    if (!out) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) std::filesystem::rename(unfinished, file, error);
  if (!error) return absl::OkStatus();
  std::error_code ignored;
  std::filesystem::remove(unfinished, ignored);
  return absl::UnavailableError(absl::StrCat(
      "--ports-file ", file.string(), ": cannot be written; give a file in a writable folder"));
}

}  // namespace spatialmamba
