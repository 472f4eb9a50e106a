#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "model/image/decode.h"
#include "tests/model/image/image_files.h"

namespace spatialmamba {
namespace {

using Reason = ImageError::Reason;

constexpr int64_t kMaxPixels = 1'000'000;

// The reason for which a file is refused; none if it decodes.
std::optional<Reason> Refusal(std::span<const std::byte> file, int64_t max_pixels = kMaxPixels) {
  try {
    const ImageHeader header = ReadImageHeader(file, max_pixels);
    const Image image = DecodeImage(file, header, Orientation::kApply);
    EXPECT_EQ(image.rgb.size(), static_cast<size_t>(header.height * header.width * 3));
    return std::nullopt;
  } catch (const ImageError& error) {
    EXPECT_GT(std::string(error.what()).size(), 20U);
    return error.reason();
  }
}

std::set<std::string> SampleFiles() {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(ImageFolder())) {
    const std::string extension = entry.path().extension();
    if (extension != ".json" && extension != ".py" && !entry.is_directory()) {
      files.insert(entry.path().filename());
    }
  }
  return files;
}

FileBytes Bytes(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class HostileSampleTest : public testing::TestWithParam<std::string> {};

TEST_P(HostileSampleTest, NoPrefixOfAFileIsTakenForAPicture) {
  const FileBytes file = ReadImageFile(GetParam());
  // The first page is all that is read of a TIFF: what is cut off behind it is not missed.
  const size_t complete = GetParam() == "two_pages.tif" ? file.size() / 2 - 8 : file.size();
  for (size_t length = 0; length < complete; ++length) {
    // A buffer of its own, so that a sanitizer sees the first byte read behind it.
    const FileBytes prefix(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_TRUE(Refusal(prefix).has_value()) << length << " of " << file.size() << " bytes";
  }
}

TEST_P(HostileSampleTest, FlippedBytesNeverCrash) {
  const FileBytes file = ReadImageFile(GetParam());
  std::mt19937 random(42);
  for (int round = 0; round < 300; ++round) {
    FileBytes damaged = file;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    }
    Refusal(damaged);
  }
}

INSTANTIATE_TEST_SUITE_P(Samples, HostileSampleTest, testing::ValuesIn(SampleFiles()),
                         [](const auto& each) {
                           std::string name = each.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST(HostileTest, SaysWhatIsWrongWithFilesThatAreNoPictures) {
  EXPECT_EQ(Refusal({}), Reason::kEmpty);
  EXPECT_EQ(Refusal(Bytes("GIF89a and so on")), Reason::kUnsupportedFormat);
  EXPECT_EQ(Refusal(Bytes("<svg xmlns='http://www.w3.org/2000/svg'/>")),
            Reason::kUnsupportedFormat);
  EXPECT_EQ(Refusal(Bytes("\xFF\xD8\xFF")), Reason::kCorrupt);
  EXPECT_EQ(Refusal(Bytes("\x89PNG\r\n\x1A\n")), Reason::kCorrupt);
  EXPECT_EQ(Refusal(Bytes("RIFF....WEBP")), Reason::kCorrupt);
  EXPECT_EQ(Refusal(Bytes(std::string("II*\0", 4))), Reason::kCorrupt);
}

TEST(HostileTest, RefusesKindsThatAreNotSupported) {
  EXPECT_EQ(Refusal(ReadImageFile("animated.webp")), Reason::kUnsupportedFormat);
  EXPECT_EQ(Refusal(ReadImageFile("float.tif")), Reason::kUnsupportedFormat);
  EXPECT_EQ(Refusal(ReadImageFile("wide_tiles.tif")), Reason::kUnsupportedFormat);
}

TEST(HostileTest, RefusesATileThatNeedsMoreMemoryThanThePicture) {
  EXPECT_EQ(Refusal(ReadImageFile("large_tile.tif")), Reason::kCorrupt);
}

TEST(HostileTest, NamesTheLimitAndTheSizeOfAPictureThatIsTooLarge) {
  FileBytes file = ReadImageFile("rgb.png");
  const FileBytes side = Bytes(std::string("\x00\x00\xEA\x60", 4));  // 60,000
  std::ranges::copy(side, file.begin() + 16);
  std::ranges::copy(side, file.begin() + 20);
  try {
    ReadImageHeader(file, kMaxPixels);
    FAIL() << "accepted";
  } catch (const ImageError& error) {
    EXPECT_EQ(error.reason(), Reason::kTooLarge);
    EXPECT_EQ(error.limit(), kMaxPixels);
    EXPECT_EQ(error.value(), 3'600'000'000);
    EXPECT_NE(std::string(error.what()).find("3600000000"), std::string::npos);
  }
}

TEST(HostileTest, TheLimitHoldsForEveryFormat) {
  for (const char* name : {"grey.jpg", "rgb.png", "lossy.webp", "strips.tif"}) {
    const FileBytes file = ReadImageFile(name);
    EXPECT_EQ(Refusal(file, 21 * 34), std::nullopt) << name;
    EXPECT_EQ(Refusal(file, 21 * 34 - 1), Reason::kTooLarge) << name;
  }
}

// Where the next marker of a JPEG begins, from a position on; 0xFF 0x00 is data.
size_t NextMarker(const FileBytes& file, size_t from) {
  while (file[from] != std::byte{0xFF} || file[from + 1] == std::byte{0}) {
    ++from;
  }
  return from;
}

// Every scan costs a pass over the whole picture, however few bytes it has.
TEST(HostileTest, RefusesAJpegOfVeryManyScans) {
  const FileBytes file = ReadImageFile("progressive_444.jpg");
  const auto scan = std::ranges::search(file, Bytes("\xFF\xDA")).begin();
  const auto head = static_cast<size_t>(scan - file.begin());
  const auto length = static_cast<std::ptrdiff_t>(NextMarker(file, head + 2) - head);
  FileBytes repeatable(scan, scan + length);
  repeatable[13] = std::byte{0};  // all bits of the coefficients at once, so that none is missing
  const auto repeated = [&](int times) {
    FileBytes many(file.begin(), scan);
    for (int i = 0; i < times; ++i) {
      many.insert(many.end(), repeatable.begin(), repeatable.end());
    }
    const FileBytes end_of_image = Bytes("\xFF\xD9");
    many.insert(many.end(), end_of_image.begin(), end_of_image.end());
    return many;
  };
  EXPECT_EQ(Refusal(repeated(1)), std::nullopt);
  EXPECT_EQ(Refusal(repeated(99)), std::nullopt);
  EXPECT_EQ(Refusal(repeated(200)), Reason::kUnsupportedFormat);
}

// Bytes between two markers change no pixel, and some cameras write them.
TEST(HostileTest, AcceptsExtraneousBytesBeforeAMarkerAndAfterTheEnd) {
  FileBytes file = ReadImageFile("baseline_420.jpg");
  const auto tables = std::ranges::search(file, Bytes("\xFF\xDB")).begin();
  file.insert(tables, 3, std::byte{0x11});
  file.insert(file.end(), 100, std::byte{0});
  EXPECT_EQ(Refusal(file), std::nullopt);
}

}  // namespace
}  // namespace spatialmamba
