#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/net/mask_rcnn.h"
#include "model/net/mask_rcnn_tensors.h"
#include "model/runtime/pool_context.h"
#include "model/weights/binder.h"
#include "model/weights/checkpoint.h"
#include "tests/model/net/detect_fixture.h"

// A checkpoint in the format of the published detectors, in half precision.
namespace spatialmamba {
namespace {

const char kFile[] = "detection_half.pth";

std::filesystem::path Folder() {
  return std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle/golden/checkpoints";
}

class MaskRcnnCheckpoint : public testing::Test {
 protected:
  MaskRcnnCheckpoint() : checkpoint_(ReadCheckpoint(Folder() / kFile)) {
    std::ifstream file(Folder() / "checkpoints.json");
    facts_ = nlohmann::json::parse(file);
    for (const nlohmann::json& entry : facts_["files"]) {
      if (entry["file"] == kFile) expected_.facts["samples"] = entry["samples"];
    }
    const std::string prefix = std::string(kFile) + "/";
    for (auto& [name, tensor] : oracle::ReadTensors(Folder() / "checkpoints.safetensors")) {
      if (name.starts_with(prefix)) expected_.tensors[name.substr(prefix.size())] = tensor;
    }
    spec_.task = VisionTask::kDetect;
    spec_.variant = {facts_["dims"][0].get<int64_t>(),
                     facts_["depths"].get<std::array<int64_t, 4>>()};
    spec_.classes = 3;
    spec_.detect = {.fpn_channels = 16, .fc_channels = 32};
  }

  nlohmann::json facts_;
  oracle::Golden expected_;
  ModelSpec spec_;
  Checkpoint checkpoint_;
};

TEST_F(MaskRcnnCheckpoint, BindsAndComputesWhatTheOracleComputes) {
  const MaskRcnn network(spec_, Bind(MaskRcnnTensors(spec_), checkpoint_));
  const nlohmann::json& picture = facts_["picture"];
  const DetectPicture input(picture["image_seed"].get<int64_t>(),
                            {picture["height"].get<int64_t>(), picture["width"].get<int64_t>()},
                            facts_["scale"].get<std::array<int64_t, 2>>());
  const DetectBatch batch({input});
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const Pyramid pyramid = network.FillPyramid(context, arena, batch.view(), batch.spans);
  for (size_t i = 0; i < kPyramidLevels; ++i) {
    EXPECT_LE(
        oracle::LargestError(expected_, "fpn" + std::to_string(i), ChannelsFirst(pyramid[i].map)),
        2e-4)
        << "level " << i;
  }
  const std::vector<PixelSize> valid = {input.query.valid};
  const Proposals proposals = network.rpn().Forward(context, arena, pyramid, valid)[0];
  const std::vector<float>& boxes = expected_.tensors.at("proposal_boxes").values;
  for (size_t i = 0; i < boxes.size(); i += 4) {
    const Box box{boxes[i], boxes[i + 1], boxes[i + 2], boxes[i + 3]};
    EXPECT_LE(BoxError(box, proposals.boxes[NearestBox(box, proposals.boxes)]), 0.02) << i / 4;
  }
}

TEST_F(MaskRcnnCheckpoint, WithoutItsMaskHeadBindsWhenThatIsIgnored) {
  spec_.detect.masks = false;
  EXPECT_THROW(Bind(MaskRcnnTensors(spec_), checkpoint_), CheckpointError);
  const BoundTensors tensors = Bind(MaskRcnnTensors(spec_), checkpoint_, {"roi_head.mask_head."});
  EXPECT_FALSE(MaskRcnn(spec_, tensors).has_masks());
}

TEST_F(MaskRcnnCheckpoint, AWrongNumberOfClassesNamesTheTensors) {
  spec_.classes = 4;
  try {
    Bind(MaskRcnnTensors(spec_), checkpoint_);
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("roi_head.bbox_head.fc_cls.weight"));
    EXPECT_THAT(error.what(), testing::HasSubstr("roi_head.mask_head.conv_logits.weight"));
  }
}

}  // namespace
}  // namespace spatialmamba
