#include "tests/gpu/pictures.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "model/tasks/preprocess.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba::gpu {
namespace {

// Normalises bytes [height, width, 3] into the upper left corner of an image of zeros.
Batch Normalised(std::span<const uint8_t> bytes, const PixelSize& size, const PixelSize& padded) {
  const PreprocessOptions options;
  Batch batch;
  batch.spans = {{0, padded.height, padded.width}};
  batch.pixels.resize(static_cast<size_t>(padded.height * padded.width * 3));
  const uint8_t* from = bytes.data();
  for (int64_t row = 0; row < size.height; ++row) {
    float* to = &batch.pixels[static_cast<size_t>(row * padded.width * 3)];
    for (int64_t i = 0; i < size.width * 3; ++i) {
      const auto channel = static_cast<size_t>(i % 3);
      *to++ = (static_cast<float>(*from++) - options.mean[channel]) / options.std[channel];
    }
  }
  return batch;
}

std::filesystem::path Folder() {
  const char* folder = std::getenv("SPATIALMAMBA_GOLDEN_INPUTS");
  return folder == nullptr ? SPATIALMAMBA_GOLDEN_INPUTS : folder;
}

}  // namespace

void Batch::Add(const Batch& other) {
  pixels.insert(pixels.end(), other.pixels.begin(), other.pixels.end());
  for (const Span& span : other.spans) {
    spans.push_back({TotalTokens(spans), span.height, span.width});
  }
}

Batch Batch::Image(size_t i) const {
  const Span& span = spans[i];
  return {{pixels.begin() + span.offset * 3, pixels.begin() + (span.offset + span.tokens()) * 3},
          {{0, span.height, span.width}}};
}

Batch Picture(int64_t seed, int64_t height, int64_t width) {
  return Normalised(oracle::Image(seed, height, width), {height, width}, {height, width});
}

Batch Pictures(int64_t seed, const std::vector<std::pair<int64_t, int64_t>>& sizes) {
  Batch batch;
  for (const auto& [height, width] : sizes) batch.Add(Picture(seed++, height, width));
  return batch;
}

GoldenInput ReadGoldenInput(const std::string& name) {
  const std::filesystem::path path = Folder() / (name + ".input");
  std::ifstream file(path, std::ios::binary);
  int64_t images = 0;
  GoldenInput input;
  PixelSize padded;
  file >> images >> input.original.height >> input.original.width >> input.valid.height >>
      input.valid.width >> padded.height >> padded.width;
  file.get();
  std::vector<uint8_t> bytes(static_cast<size_t>(input.valid.height * input.valid.width * 3));
  for (int64_t i = 0; i < images; ++i) {
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    input.batch.Add(Normalised(bytes, input.valid, padded));
  }
  if (!file || images == 0) {
    throw std::runtime_error(path.string() +
                             ": missing or cut short: build the target golden_inputs");
  }
  return input;
}

std::vector<uint8_t> ReadGoldenLabels(const std::string& name) {
  std::ifstream file(Folder() / (name + ".labels"), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace spatialmamba::gpu
