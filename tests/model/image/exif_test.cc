#include "model/image/exif.h"

#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using std::string_literals::operator""s;

const std::string kLittle = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s;
const std::string kBig = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"s;

int Read(std::string_view block) { return ExifOrientation(std::as_bytes(std::span(block))); }

TEST(ExifTest, ReadsBothByteOrdersWithAndWithoutPrefix) {
  EXPECT_EQ(Read(kLittle), 6);
  EXPECT_EQ(Read(kBig), 6);
  EXPECT_EQ(Read("Exif\0\0"s + kLittle), 6);
  EXPECT_EQ(Read("Exif\0\0"s + kBig), 6);
}

TEST(ExifTest, TakesInvalidOrientationsForNone) {
  for (const char value : {'\0', '\x09', '\xFF'}) {
    std::string block = kLittle;
    block[18] = value;
    EXPECT_EQ(Read(block), 1);
  }
}

TEST(ExifTest, TakesDamagedBlocksForNone) {
  EXPECT_EQ(Read(""), 1);
  EXPECT_EQ(Read("Exif\0\0"s), 1);
  std::string far_directory = kLittle;
  far_directory.replace(4, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(Read(far_directory), 1);
  std::string wrong_type = kLittle;
  wrong_type[12] = 2;
  EXPECT_EQ(Read(wrong_type), 1);
  for (size_t length = 0; length < 22; ++length) {
    EXPECT_EQ(Read(kLittle.substr(0, length)), 1) << length;
  }
}

}  // namespace
}  // namespace spatialmamba
