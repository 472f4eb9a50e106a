// The readers allocate no more than a small multiple of the file, whatever it claims. This program
// counts what operator new hands out, so it holds no other tests.

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "model/weights/weight_file.h"
#include "tests/model/weights/weights_fixture.h"

namespace {

std::atomic<int64_t> in_use{0};
std::atomic<int64_t> peak{0};

void Count(int64_t bytes) {
  const int64_t now = in_use += bytes;
  for (int64_t before = peak; now > before && !peak.compare_exchange_weak(before, now);) {
  }
}

}  // namespace

// Not inlined, or the compiler takes them for a mismatched pair of malloc and delete.
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  Count(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  if (memory != nullptr) in_use -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace spatialmamba {
namespace {

using namespace fixture;  // the pieces of which the files below are made

constexpr int64_t kMegabyte = 1'000'000;

// The peak of what is allocated while a file, whose own bytes are not counted, is read or refused.
int64_t PeakOf(const std::string& content) {
  const FileBytes bytes = ToBytes(content);
  const int64_t before = in_use;
  peak = before;
  try {
    ReadCheckpoint(bytes, "test.pth", {});
  } catch (const CheckpointError&) {
  }
  return peak - before;
}

TEST(Memory, HonestFilesTakeLittleBesidesTheirBytes) {
  EXPECT_LT(PeakOf(Content(GoldenCheckpoint("classification.pth"))), 2 * kMegabyte);
  EXPECT_LT(PeakOf(Content(GoldenCheckpoint("classification_legacy.pth"))), 2 * kMegabyte);
}

TEST(Memory, ClaimedSizesAllocateNothing) {
  const std::string text_of_4_gigabytes("X\xff\xff\xff\xff", 5);
  const std::string bytes_of_an_exabyte("\x8e\0\0\0\0\0\0\0\x10", 9);
  const int64_t huge = int64_t{1} << 40;
  EXPECT_LT(PeakOf(TorchFile(text_of_4_gigabytes)), kMegabyte);
  EXPECT_LT(PeakOf(TorchFile(bytes_of_an_exabyte)), kMegabyte);
  EXPECT_LT(PeakOf(TorchFile(Dict({{"w", TensorPickle({.stored = huge, .shape = {huge}})}}),
                             {{"0", FourFloats()}})),
            kMegabyte);
  EXPECT_LT(PeakOf(std::string("\0\xe1\xf5\x05\0\0\0\0{", 9)), kMegabyte);
}

TEST(Memory, AFileOfTinyObjectsStaysWithinASmallMultiple) {
  const int64_t size = 500'000;
  for (const char opcode : {'N', '}', ']', '(', '2'}) {
    const std::string value = "N" + std::string(static_cast<size_t>(size), opcode);
    EXPECT_LT(PeakOf(TorchFile(value)), 100 * size) << opcode;
  }
  const std::string remembered(static_cast<size_t>(size), '\x94');
  EXPECT_LT(PeakOf(TorchFile("N" + remembered)), 100 * size);
}

TEST(Memory, AnEndlessFileOfTinyObjectsIsCutOff) {
  EXPECT_LT(PeakOf(TorchFile(std::string(20'000'000, ']'))), 500 * kMegabyte);
}

TEST(Memory, ASafetensorsHeaderOfManyNumbersStaysWithinASmallMultiple) {
  std::string header = R"({"a":{"dtype":"F32","data_offsets":[0,4],"shape":[1)";
  for (int i = 0; i < 1'500'000; ++i) header += ",1";
  header += "]}}";
  const uint64_t length = header.size();
  const std::string file = std::string(reinterpret_cast<const char*>(&length), 8) + header + "abcd";
  EXPECT_LT(PeakOf(file), 40 * static_cast<int64_t>(file.size()));
}

// A hundred thousand names for one tensor of many dimensions.
TEST(Memory, ManyNamesOfOneTensorStayWithinASmallMultiple) {
  std::string value = "}(" + Text("first") + TensorPickle({}) + "q\x01";
  for (int i = 0; i < 90'000; ++i) value += Text(std::to_string(i)) + "h\x01";
  value += "u";
  EXPECT_LT(PeakOf(TorchFile(value, {{"0", FourFloats()}})),
            60 * static_cast<int64_t>(value.size()));
}

}  // namespace
}  // namespace spatialmamba
