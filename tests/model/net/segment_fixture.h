#pragma once

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "model/image/decode.h"
#include "model/net/upernet.h"
#include "model/net/upernet_tensors.h"
#include "model/tasks/preprocess.h"
#include "tests/model/net/detect_fixture.h"
#include "tests/model/ops/resize_reference.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {

// A picture ready for the network.
struct SegmentPicture {
  SegmentPicture(int64_t seed, const PixelSize& size, const std::array<int64_t, 2>& scale) {
    const Image image{size.height, size.width, oracle::Image(seed, size.height, size.width)};
    input = Preprocess(image, {.input = SegmentInput{.scale = scale}});
    query.original = size;
  }

  NetworkInput input;
  SegmentQuery query;
};

// Pictures back to back.
struct SegmentBatch {
  explicit SegmentBatch(const std::vector<SegmentPicture>& pictures) {
    for (const SegmentPicture& picture : pictures) {
      spans.push_back({TotalTokens(spans), picture.input.height, picture.input.width});
      pixels.insert(pixels.end(), picture.input.pixels.begin(), picture.input.pixels.end());
      queries.push_back(picture.query);
    }
  }

  ConstView view() const { return {pixels.data(), TotalTokens(spans), 3, 3}; }

  std::vector<float> pixels;
  std::vector<Span> spans;
  std::vector<SegmentQuery> queries;
};

// The logits of a batch of one image, enlarged to the network's input and then to the picture, as
// the oracle keeps them: [classes, height, width].
inline std::vector<float> EnlargedLogits(const SegmentLogits& head, const SegmentBatch& batch) {
  Plane plane({head.spans[0].height, head.spans[0].width}, head.logits.channels);
  for (int64_t t = 0; t < head.spans[0].tokens(); ++t) {
    for (int64_t c = 0; c < plane.channels; ++c) {
      plane.at(t / plane.size.width, t % plane.size.width, c) =
          static_cast<double>(head.logits.row(t)[c]);
    }
  }
  plane = Resized(plane, {batch.spans[0].height, batch.spans[0].width});
  plane = Resized(plane, batch.queries[0].original);
  std::vector<float> values;
  for (int64_t c = 0; c < plane.channels; ++c) {
    for (int64_t y = 0; y < plane.size.height; ++y) {
      for (int64_t x = 0; x < plane.size.width; ++x) {
        values.push_back(static_cast<float>(plane.at(y, x, c)));
      }
    }
  }
  return values;
}

// The network, the picture and the label map of a golden case.
struct SegmentCase {
  explicit SegmentCase(const std::string& name)
      : golden(oracle::ReadGolden(name)),
        facts(golden.facts["case"]),
        expected(golden.facts["expected"]) {
    spec.task = VisionTask::kSegment;
    spec.variant = *FindVariant(facts["variant"].get<std::string>());
    spec.classes = facts["classes"].get<int64_t>();
  }

  UperNet Network(MatrixType matrices = MatrixType::kFloat32) const {
    return UperNet(
        spec, {SyntheticTensors(UperNetTensors(spec), facts["seed"].get<int64_t>()), matrices});
  }

  SegmentPicture Picture() const {
    return {facts["image_seed"].get<int64_t>(),
            {facts["height"].get<int64_t>(), facts["width"].get<int64_t>()},
            facts["scale"].get<std::array<int64_t, 2>>()};
  }

  std::vector<uint16_t> Labels() const {
    const std::string name = facts["name"].get<std::string>() + ".png";
    std::ifstream file(
        std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle/golden" / name,
        std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    const auto data = std::as_bytes(std::span(bytes));
    const Image image =
        DecodeImage(data, ReadImageHeader(data, int64_t{1} << 30), Orientation::kIgnore);
    std::vector<uint16_t> labels;
    for (size_t i = 0; i < image.rgb.size(); i += 3) labels.push_back(image.rgb[i]);
    return labels;
  }

  oracle::Golden golden;
  const nlohmann::json& facts;
  const nlohmann::json& expected;
  ModelSpec spec;
};

}  // namespace spatialmamba
