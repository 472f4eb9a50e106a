#include "server/model_loader.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/tiny_model.h"

namespace spatialmamba {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ModelLoaderTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<ServedModel>> Load(const ModelConfig& model) {
    Config config;
    config.models = {model};
    return LoadModels(config, devices_, pool_);
  }

  ModelConfig Entry(const TinyModel& model = {}) {
    ModelConfig entry;
    entry.name = "tiny";
    entry.weights = folder_.path() / "tiny.safetensors";
    WriteTinyModel(entry.weights, model);
    return entry;
  }

  void ExpectError(const ModelConfig& entry, const std::string& what) {
    const auto models = Load(entry);
    ASSERT_FALSE(models.ok());
    EXPECT_THAT(std::string(models.status().message()),
                AllOf(HasSubstr("models.0 (tiny)"), HasSubstr(entry.weights.string()),
                      HasSubstr(what), Not(HasSubstr("\n"))));
  }

  ScratchFolder folder_;
  Devices devices_;
  ThreadPool pool_{1};
};

TEST_F(ModelLoaderTest, MetadataDescribesTheModel) {
  TinyModel tiny;
  tiny.classes = 2;
  tiny.metadata["classes"] = R"([{"name": "cat"}, {"name": "dog"}])";
  tiny.metadata["preprocess"] = R"({"resize_short": 40, "crop": 32, "orientation": "ignore"})";
  const auto models = Load(Entry(tiny));
  ASSERT_TRUE(models.ok()) << models.status();
  const ServedModel& model = models->front();
  EXPECT_EQ(model.spec.task, VisionTask::kClassify);
  EXPECT_EQ(model.spec.variant, tiny.variant);
  ASSERT_EQ(model.classes.size(), 2);
  EXPECT_EQ(model.classes[1].name, "dog");
  EXPECT_EQ(std::get<ClassifyInput>(model.preprocess.input).resize_short, 40);
  EXPECT_EQ(std::get<ClassifyInput>(model.preprocess.input).crop, 32);
  EXPECT_EQ(model.preprocess.orientation, Orientation::kIgnore);
  EXPECT_GT(model.max_input_pixels, 32 * 32);
}

TEST_F(ModelLoaderTest, ConfigurationWinsOverMetadata) {
  ModelConfig entry = Entry();
  entry.preprocess.crop = 24;
  entry.preprocess.resize_short = 30;
  entry.classes = std::vector<ClassLabel>(10, ClassLabel{.name = "mine"});
  const auto models = Load(entry);
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(std::get<ClassifyInput>(models->front().preprocess.input).crop, 24);
  EXPECT_EQ(models->front().classes[3].name, "mine");
}

TEST_F(ModelLoaderTest, ClassesWithoutNamesAreNumbered) {
  const auto models = Load(Entry());
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->front().classes.size(), 10);
  EXPECT_EQ(models->front().classes[7].name, "class_7");
}

TEST_F(ModelLoaderTest, ErrorsNameEntryFileAndRemedyInOneLine) {
  ModelConfig missing;
  missing.name = "tiny";
  missing.weights = folder_.path() / "nowhere.pth";
  ExpectError(missing, "nowhere.pth");

  TinyModel bare;
  bare.metadata.clear();
  ExpectError(Entry(bare), "task: classify");
  ModelConfig no_variant = Entry(bare);
  no_variant.task = VisionTask::kClassify;
  ExpectError(no_variant, "variant: tiny");

  ModelConfig wrong_classes = Entry();
  wrong_classes.classes = std::vector<ClassLabel>(3, ClassLabel{.name = "x"});
  ExpectError(wrong_classes, "has 10 classes, but `classes` names 3");

  ModelConfig wrong_variant = Entry();
  wrong_variant.variant = Variant{8, {1, 1, 2, 1}};
  ExpectError(wrong_variant, "layers.2.blocks.1");

  ModelConfig wrong_hash = Entry();
  wrong_hash.sha256 = std::string(64, '0');
  ExpectError(wrong_hash, "SHA-256");
}

}  // namespace
}  // namespace spatialmamba
