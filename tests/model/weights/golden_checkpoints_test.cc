#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "model/weights/checkpoint.h"
#include "tests/model/weights/weights_fixture.h"

namespace spatialmamba {
namespace {

using fixture::GoldenCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;

struct Published {
  const char* file;
  const char* key;
  size_t tensors;
  DType dtype;
};

class PublishedKinds : public testing::TestWithParam<Published> {};

TEST_P(PublishedKinds, AreFoundByThemselvesAndReadWhole) {
  const Checkpoint checkpoint = ReadCheckpoint(GoldenCheckpoint(GetParam().file));
  EXPECT_EQ(checkpoint.key, GetParam().key);
  EXPECT_EQ(checkpoint.tensors.size(), GetParam().tensors);
  EXPECT_TRUE(checkpoint.metadata.empty());
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const bool counts = name.ends_with("num_batches_tracked");
    EXPECT_EQ(tensor.dtype, counts ? DType::kInt64 : GetParam().dtype) << name;
    EXPECT_EQ(tensor.ToFloat().size(), static_cast<size_t>(tensor.elements())) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    , PublishedKinds,
    testing::Values(Published{"classification.pth", "model", 175, DType::kFloat32},
                    Published{"classification_legacy.pth", "model", 175, DType::kFloat16},
                    Published{"detection_half.pth", "state_dict", 221, DType::kFloat16},
                    Published{"segmentation.pth", "state_dict", 261, DType::kFloat32}));

TEST(GoldenCheckpoints, ViewsOfASharedStorageHaveTheValuesThatTorchSees) {
  const Checkpoint views = ReadCheckpoint(GoldenCheckpoint("views.pth"));
  const Checkpoint expected = ReadCheckpoint(GoldenCheckpoint("checkpoints.safetensors"));
  EXPECT_EQ(views.tensors.size(), 11U);
  for (const auto& [name, tensor] : views.tensors) {
    const auto found = expected.tensors.find("views.pth/" + name);
    ASSERT_NE(found, expected.tensors.end()) << name;
    EXPECT_EQ(tensor.shape, found->second.shape) << name;
    EXPECT_EQ(tensor.ToFloat(), found->second.ToFloat()) << name;
  }
}

TEST(GoldenCheckpoints, ViewsAreWhatTheirNamesSay) {
  const auto tensors = ReadCheckpoint(GoldenCheckpoint("views.pth")).tensors;
  EXPECT_THAT(tensors.at("tail").ToFloat(), ElementsAre(20, 21, 22, 23));
  EXPECT_THAT(tensors.at("broadcast").ToFloat(), ElementsAre(5, 5, 5, 5, 5, 5));
  EXPECT_THAT(tensors.at("bool").ToFloat(), ElementsAre(1, 0));
  EXPECT_THAT(tensors.at("transposed").shape, ElementsAre(6, 4));
  EXPECT_THAT(tensors.at("transposed").ToFloat(), testing::Contains(23).Times(1));
  EXPECT_EQ(tensors.at("transposed").ToFloat()[1], 6);
  EXPECT_TRUE(tensors.at("empty").ToFloat().empty());
}

TEST(GoldenCheckpoints, HostileFileGivesItsTensorAndRunsNothing) {
  const Checkpoint checkpoint = ReadCheckpoint(GoldenCheckpoint("hostile.pth"));
  EXPECT_THAT(checkpoint.tensors.at("head.bias").ToFloat(), ElementsAre(0, 1));
  EXPECT_FALSE(std::filesystem::exists("EXECUTED_BY_A_CHECKPOINT"));
}

TEST(GoldenCheckpoints, AveragedWeightsAreTakenOnRequest) {
  const Checkpoint plain = ReadCheckpoint(GoldenCheckpoint("classification.pth"));
  const Checkpoint averaged =
      ReadCheckpoint(GoldenCheckpoint("classification.pth"), {.key = "model_ema"});
  EXPECT_EQ(averaged.key, "model_ema");
  EXPECT_THAT(plain.other_keys, ElementsAre("model_ema"));
  EXPECT_NE(plain.tensors.at("head.weight").ToFloat(),
            averaged.tensors.at("head.weight").ToFloat());
}

TEST(GoldenCheckpoints, AnUnknownKeyIsAnErrorThatListsTheKeys) {
  const std::string error = fixture::ErrorOf(
      fixture::Content(GoldenCheckpoint("classification.pth")), {.key = "model_emma"});
  EXPECT_THAT(error, HasSubstr("no state dict \"model_emma\""));
  EXPECT_THAT(error, HasSubstr("\"model\", \"model_ema\""));
}

// The digest was computed by sha256sum.
TEST(GoldenCheckpoints, TheDigestIsThatOfTheWholeFileAndIsChecked) {
  const std::string digest = "7e81f86ce412a1ec87bc32c5234e22ccba7b3412988b1805821b4f4999c4621f";
  const auto file = GoldenCheckpoint("classification.pth");
  EXPECT_EQ(ReadCheckpoint(file, {.sha256 = digest}).sha256, digest);
  try {
    ReadCheckpoint(file, {.sha256 = std::string(64, '0')});
    FAIL() << "a wrong digest was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr(file.string()));
    EXPECT_THAT(error.what(), HasSubstr(digest));
  }
}

TEST(GoldenCheckpoints, WhatIsNoFileIsAnErrorThatNamesIt) {
  for (const char* path : {"/nonexistent/weights.pth", "/", "/dev/null"}) {
    try {
      ReadCheckpoint(path);
      FAIL() << path;
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr(path));
    }
  }
}

}  // namespace
}  // namespace spatialmamba
