#include <gtest/gtest.h>

#include <random>
#include <string>

#include "model/weights/zip_archive.h"
#include "tests/model/weights/weights_fixture.h"

namespace spatialmamba {
namespace {

using fixture::Content;
using fixture::ErrorOf;
using fixture::GoldenCheckpoint;

// Reads damaged copies of a file. Anything but success or a CheckpointError ends the test; what
// reaches beyond a buffer ends it under the address sanitizer.
class Damage {
 public:
  explicit Damage(uint32_t seed) : random_(seed) {}

  std::string Damaged(std::string content, size_t first, size_t last) {
    const size_t count = 1 + random_() % 4;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = first + random_() % (last - first);
      switch (random_() % 4) {
        case 0:
          content[at] = static_cast<char>(content[at] ^ (1 << random_() % 8));
          break;
        case 1:
          content[at] = static_cast<char>(random_());
          break;
        case 2:
          content[at] = '\xff';
          break;
        default:
          content[at] = static_cast<char>(content[first + random_() % (last - first)]);
          break;
      }
    }
    return content;
  }

 private:
  std::mt19937 random_;
};

TEST(Fuzz, EveryTruncationOfASmallZipFileIsAnError) {
  const std::string file = Content(GoldenCheckpoint("views.pth"));
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorOf(file.substr(0, size)), "") << size;
  }
}

TEST(Fuzz, EveryTruncationOfASafetensorsFileIsAnError) {
  const std::string file = Content(GoldenCheckpoint("checkpoints.safetensors"));
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(ErrorOf(file.substr(0, size)), "") << size;
  }
}

TEST(Fuzz, TruncationsOfALegacyFileAreErrors) {
  const std::string file = Content(GoldenCheckpoint("classification_legacy.pth"));
  for (size_t size = 0; size < file.size(); size += size < 2000 ? 1 : 997) {
    EXPECT_NE(ErrorOf(file.substr(0, size)), "") << size;
  }
}

TEST(Fuzz, DamagedSafetensorsHeadersAreReadOrRefused) {
  const std::string file = Content(GoldenCheckpoint("checkpoints.safetensors"));
  Damage damage(1);
  for (int i = 0; i < 4000; ++i) ErrorOf(damage.Damaged(file, 0, 1500));
}

TEST(Fuzz, DamagedZipFilesAreReadOrRefused) {
  const std::string file = Content(GoldenCheckpoint("views.pth"));
  Damage damage(2);
  for (int i = 0; i < 4000; ++i) ErrorOf(damage.Damaged(file, 0, file.size()));
}

// Checksums would keep the damage away from the pickle, so these files are packed without them.
TEST(Fuzz, DamagedPicklesAreReadOrRefused) {
  const std::string file = Content(GoldenCheckpoint("views.pth"));
  ZipArchive archive(fixture::ToBytes(file));
  std::map<std::string, std::string> entries;
  for (const auto& [name, entry] : archive.entries()) {
    const ByteRange range = archive.Find(name);
    entries[std::string(name)] =
        file.substr(static_cast<size_t>(range.position), static_cast<size_t>(range.size));
  }
  std::string& pickle = entries.at("views/data.pkl");
  const std::string whole = pickle;
  Damage damage(3);
  int read = 0;
  for (int i = 0; i < 8000; ++i) {
    pickle = damage.Damaged(whole, 2, whole.size());
    if (ErrorOf(fixture::Zip(entries)).empty()) ++read;
  }
  EXPECT_GT(read, 100);  // the damage is small enough to get past the first checks
}

TEST(Fuzz, DamagedLegacyFilesAreReadOrRefused) {
  const std::string file = Content(GoldenCheckpoint("classification_legacy.pth"));
  Damage damage(4);
  for (int i = 0; i < 300; ++i) ErrorOf(damage.Damaged(file, 0, 30000));
}

}  // namespace
}  // namespace spatialmamba
