#include "model/weights/file_bytes.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>

#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

class FileDescriptor {
 public:
  // O_NONBLOCK: a named pipe must not make us wait for its other end.
  explicit FileDescriptor(const std::filesystem::path& file)
      : fd_(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void ThrowSystemError() {
  throw CheckpointError(std::string("cannot be read: ") + std::strerror(errno));
}

}  // namespace

FileBytes ReadFile(const std::filesystem::path& file) {
  const FileDescriptor descriptor(file);
  struct stat facts = {};
  if (descriptor.get() < 0 || fstat(descriptor.get(), &facts) != 0) ThrowSystemError();
  if (!S_ISREG(facts.st_mode)) throw CheckpointError("is not a regular file");
  const auto size = static_cast<size_t>(facts.st_size);
  try {
    auto bytes = std::make_shared<std::vector<std::byte>>(size);
    constexpr size_t kStep = size_t{1} << 28;
    for (size_t done = 0; done < size;) {
      const ssize_t got =
          read(descriptor.get(), bytes->data() + done, std::min(kStep, size - done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) ThrowSystemError();
      if (got == 0) throw CheckpointError("became shorter while it was read");
      done += static_cast<size_t>(got);
    }
    return bytes;
  } catch (const std::bad_alloc&) {
    throw CheckpointError("has " + std::to_string(size) + " bytes, which do not fit into memory");
  }
}

std::string Sha256(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

}  // namespace spatialmamba
