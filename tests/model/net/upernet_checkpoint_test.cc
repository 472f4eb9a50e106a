#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/runtime/pool_context.h"
#include "model/weights/binder.h"
#include "model/weights/checkpoint.h"
#include "tests/model/net/segment_fixture.h"

// A checkpoint in the format of the published segmenters.
namespace spatialmamba {
namespace {

const char kFile[] = "segmentation.pth";

std::filesystem::path Folder() {
  return std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / "tests/oracle/golden/checkpoints";
}

class UperNetCheckpoint : public testing::Test {
 protected:
  UperNetCheckpoint() : checkpoint_(ReadCheckpoint(Folder() / kFile)) {
    std::ifstream file(Folder() / "checkpoints.json");
    facts_ = nlohmann::json::parse(file);
    for (const nlohmann::json& entry : facts_["files"]) {
      if (entry["file"] == kFile) expected_.facts["samples"] = entry["samples"];
    }
    const std::string prefix = std::string(kFile) + "/";
    for (auto& [name, tensor] : oracle::ReadTensors(Folder() / "checkpoints.safetensors")) {
      if (name.starts_with(prefix)) expected_.tensors[name.substr(prefix.size())] = tensor;
    }
    spec_.task = VisionTask::kSegment;
    spec_.variant = {facts_["dims"][0].get<int64_t>(),
                     facts_["depths"].get<std::array<int64_t, 4>>()};
    spec_.classes = 4;
    spec_.segment.channels = 16;
  }

  nlohmann::json facts_;
  oracle::Golden expected_;
  ModelSpec spec_;
  Checkpoint checkpoint_;
};

TEST_F(UperNetCheckpoint, BindsWithoutItsAuxiliaryHeadAndComputesWhatTheOracleComputes) {
  EXPECT_THROW(Bind(UperNetTensors(spec_), checkpoint_), CheckpointError);
  const UperNet network(spec_, Bind(UperNetTensors(spec_), checkpoint_, {"auxiliary_head."}));
  const nlohmann::json& picture = facts_["picture"];
  const SegmentBatch batch(
      {SegmentPicture(picture["image_seed"].get<int64_t>(),
                      {picture["height"].get<int64_t>(), picture["width"].get<int64_t>()},
                      facts_["scale"].get<std::array<int64_t, 2>>())});
  ThreadPool pool(2);
  PoolContext context(pool);
  Arena arena;
  const SegmentLogits head = network.FillLogits(context, arena, batch.view(), batch.spans);
  EXPECT_LE(oracle::LargestError(expected_, "logits", EnlargedLogits(head, batch)), 5e-5);
}

TEST_F(UperNetCheckpoint, AWrongNumberOfClassesNamesTheTensor) {
  spec_.classes = 5;
  try {
    Bind(UperNetTensors(spec_), checkpoint_, {"auxiliary_head."});
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("decode_head.conv_seg.weight"));
  }
}

}  // namespace
}  // namespace spatialmamba
