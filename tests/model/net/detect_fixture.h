#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "model/net/mask_rcnn.h"
#include "model/net/mask_rcnn_tensors.h"
#include "model/tasks/preprocess.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/synthetic.h"

namespace spatialmamba {

// Synthetic weights for a list of tensors, under their keys.
inline BoundTensors::Values SyntheticTensors(const std::vector<ExpectedTensor>& list,
                                             int64_t seed) {
  BoundTensors::Values tensors;
  for (const ExpectedTensor& tensor : list) {
    if (!tensor.optional) tensors[tensor.key] = oracle::Tensor(seed, tensor.key, tensor.shape);
  }
  return tensors;
}

// A picture ready for the network.
struct DetectPicture {
  DetectPicture(int64_t seed, const PixelSize& size, const std::array<int64_t, 2>& scale)
      : original(size) {
    const Image image{size.height, size.width, oracle::Image(seed, size.height, size.width)};
    input = Preprocess(image, {.input = DetectInput{.scale = scale}});
    query.valid = {input.valid_height, input.valid_width};
  }

  PixelSize original;
  NetworkInput input;
  DetectQuery query;
};

// Pictures back to back.
struct DetectBatch {
  explicit DetectBatch(const std::vector<DetectPicture>& pictures) {
    for (const DetectPicture& picture : pictures) {
      spans.push_back({TotalTokens(spans), picture.input.height, picture.input.width});
      pixels.insert(pixels.end(), picture.input.pixels.begin(), picture.input.pixels.end());
      queries.push_back(picture.query);
    }
  }

  ConstView view() const { return {pixels.data(), TotalTokens(spans), 3, 3}; }

  std::vector<float> pixels;
  std::vector<Span> spans;
  std::vector<DetectQuery> queries;
};

// The network and the picture of a golden case.
struct DetectCase {
  explicit DetectCase(const std::string& name)
      : golden(oracle::ReadGolden(name)),
        facts(golden.facts["case"]),
        expected(golden.facts["expected"]) {
    spec.task = VisionTask::kDetect;
    spec.variant = *FindVariant(facts["variant"].get<std::string>());
    spec.classes = facts["classes"].get<int64_t>();
  }

  MaskRcnn Network(MatrixType matrices = MatrixType::kFloat32) const {
    return MaskRcnn(
        spec, {SyntheticTensors(MaskRcnnTensors(spec), facts["seed"].get<int64_t>()), matrices});
  }

  DetectPicture Picture() const {
    return {facts["image_seed"].get<int64_t>(),
            {facts["height"].get<int64_t>(), facts["width"].get<int64_t>()},
            {facts["scale"][0].get<int64_t>(), facts["scale"][1].get<int64_t>()}};
  }

  std::vector<Box> Boxes(const std::string& name) const {
    const std::vector<float>& values = golden.tensors.at(name).values;
    std::vector<Box> boxes;
    for (size_t i = 0; i < values.size(); i += 4) {
      boxes.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
    }
    return boxes;
  }

  oracle::Golden golden;
  const nlohmann::json& facts;
  const nlohmann::json& expected;
  ModelSpec spec;
};

// The largest difference of a coordinate.
inline double BoxError(const Box& a, const Box& b) {
  return static_cast<double>(
      std::max({std::abs(a.left - b.left), std::abs(a.top - b.top), std::abs(a.right - b.right),
                std::abs(a.bottom - b.bottom)}));
}

// Index of the box that differs least.
inline size_t NearestBox(const Box& box, const std::vector<Box>& boxes) {
  size_t nearest = 0;
  for (size_t i = 1; i < boxes.size(); ++i) {
    if (BoxError(box, boxes[i]) < BoxError(box, boxes[nearest])) nearest = i;
  }
  return nearest;
}

// One image's map, channels first, as the oracle keeps it.
inline std::vector<float> ChannelsFirst(ConstView map) {
  std::vector<float> values;
  for (int64_t c = 0; c < map.channels; ++c) {
    for (int64_t t = 0; t < map.rows; ++t) values.push_back(map.row(t)[c]);
  }
  return values;
}

}  // namespace spatialmamba
