#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "server/config.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;

Config Parse(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, {"test.yaml", "/base/dir", {}});
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

TEST(ClassLists, BuiltinsAreComplete) {
  const Config c = Parse(
      "models:\n"
      "  - {name: a, weights: w.pth, classes: imagenet}\n"
      "  - {name: b, weights: w.pth, classes: coco}\n"
      "  - {name: c, weights: w.pth, classes: ade20k}\n");
  const auto& imagenet = *c.models[0].classes;
  const auto& coco = *c.models[1].classes;
  const auto& ade20k = *c.models[2].classes;
  EXPECT_EQ(c.models[0].classes_source, "imagenet");
  ASSERT_EQ(imagenet.size(), 1000U);
  EXPECT_EQ(imagenet[0], (ClassLabel{"tench", 0, std::nullopt}));
  ASSERT_EQ(coco.size(), 80U);
  EXPECT_EQ(coco[0], (ClassLabel{"person", 1, std::array<uint8_t, 3>{220, 20, 60}}));
  EXPECT_EQ(coco[11].id, 13) << "COCO's ids have gaps";
  EXPECT_EQ(coco[79].id, 90);
  ASSERT_EQ(ade20k.size(), 150U);
  EXPECT_EQ(ade20k[0], (ClassLabel{"wall", 1, std::array<uint8_t, 3>{120, 120, 120}}));
  EXPECT_EQ(ade20k[75].name, "swivel chair");
  EXPECT_EQ(ade20k[149].id, 150);
}

class ClassFile : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<ClassLabel>> Read(const std::string& content) {
    const std::string path = ::testing::TempDir() + "/classes_" +
                             ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::ofstream(path, std::ios::binary) << content;
    const absl::StatusOr<Config> config = ParseConfig(
        "models: [{name: m, weights: w.pth, classes: " + path + "}]", {"test.yaml", "/base", {}});
    if (!config.ok()) return config.status();
    return *config->models[0].classes;
  }
};

TEST_F(ClassFile, OneNameALine) {
  const auto classes = Read("shirt\r\n  long sleeve \nhat\n\n");
  ASSERT_TRUE(classes.ok()) << classes.status();
  ASSERT_EQ(classes->size(), 3U);
  EXPECT_EQ((*classes)[1], (ClassLabel{"long sleeve", 1, std::nullopt}));
}

TEST_F(ClassFile, Json) {
  const auto classes = Read(R"([{"name": "caf\u00e9 \ud83d\ude00", "id": 4, "color": null}, "b"])");
  ASSERT_TRUE(classes.ok()) << classes.status();
  EXPECT_EQ((*classes)[0], (ClassLabel{"café 😀", 4, std::nullopt}));
  EXPECT_EQ((*classes)[1], (ClassLabel{"b", 1, std::nullopt}));
}

TEST_F(ClassFile, EmptyLineIsRefusedBecauseItWouldShiftTheRest) {
  EXPECT_THAT(Read("a\n\nb\n").status().ToString(), HasSubstr(":2: the class has no name"));
}

TEST_F(ClassFile, TextThatIsNotUtf8IsRefused) {
  EXPECT_THAT(Read("a\ncaf\xe9\n").status().ToString(), HasSubstr(":2: the class is not UTF-8"));
}

TEST(Metadata, FillsWhatTheConfigurationLeavesOpen) {
  ModelConfig model =
      Parse("models: [{name: m, weights: w.safetensors, preprocess: {crop: 96}}]").models[0];
  const std::map<std::string, std::string> metadata = {
      {"format", "spatial-mamba"},
      {"task", "classify"},
      {"variant", R"({"dim": 32, "depths": [1, 1, 3, 1]})"},
      {"classes", R"([{"name": "dress"}, {"name": "hat", "id": 5}])"},
      {"preprocess",
       R"({"resize_short": 128, "crop": 112, "mean": [1.5, 2, 3], "orientation": "apply"})"},
      {"head", "{}"}};
  const absl::Status status = ApplyMetadata(metadata, "w.safetensors", model);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(model.task, VisionTask::kClassify);
  EXPECT_EQ(model.variant, (Variant{32, {1, 1, 3, 1}}));
  EXPECT_EQ((*model.classes)[1], (ClassLabel{"hat", 5, std::nullopt}));
  EXPECT_EQ(model.preprocess.resize_short, 128);
  EXPECT_EQ(model.preprocess.crop, 96) << "the configuration wins";
  EXPECT_EQ(model.preprocess.mean, (std::array<float, 3>{1.5F, 2, 3}));
}

TEST(Metadata, ProblemsNameFileAndKey) {
  const auto apply = [](const std::map<std::string, std::string>& metadata) {
    ModelConfig model;
    return ApplyMetadata(metadata, "w.safetensors", model).ToString();
  };
  EXPECT_THAT(apply({{"task", "knit"}}),
              HasSubstr("w.safetensors: metadata task: task: must be one of classify"));
  EXPECT_THAT(apply({{"classes", "../../etc/passwd"}}),
              HasSubstr("must be imagenet, coco, ade20k or a list"));
  EXPECT_THAT(apply({{"preprocess", "{"}}), HasSubstr("not valid JSON"));
  EXPECT_THAT(apply({{"preprocess", R"({"cropp": 1})"}}), HasSubstr("did you mean crop?"));
  EXPECT_THAT(apply({{"task", "classify"}, {"head", R"({"masks": true})"}}),
              HasSubstr("masks does not apply"));
  EXPECT_THAT(apply({{"head", std::string(100'000, '[')}}), HasSubstr("JSON"));
}

TEST(Metadata, CropMustFitIntoTheResizeThatTakesEffect) {
  const auto apply = [](const std::string& preprocess,
                        const std::map<std::string, std::string>& metadata) {
    const Config config =
        Parse("models: [{name: m, weights: w, task: classify, preprocess: " + preprocess + "}]");
    ModelConfig model = config.models.at(0);
    return ApplyMetadata(metadata, "w", model).ToString();
  };
  EXPECT_EQ(apply("{crop: 300}", {{"preprocess", R"({"resize_short": 320})"}}), "OK");
  EXPECT_THAT(apply("{crop: 300}", {}), HasSubstr("crop, 300, is larger than resize_short, 256"));
  EXPECT_THAT(apply("{resize_short: 128}", {}),
              HasSubstr("crop, 224, is larger than resize_short, 128"));
  EXPECT_EQ(apply("{crop: 0}", {}), "OK");
}

TEST(CheckSupported, NamesWhatThisVersionLacks) {
  const auto check = [](const std::string& text) {
    return CheckSupported(Parse(text + "models: [{name: m, weights: w.pth}]\n")).ToString();
  };
  EXPECT_EQ(check(""), "OK");
  EXPECT_EQ(check("oip: {enabled: false}\n"), "OK");
  EXPECT_THAT(check("tls: {certificate: a, key: b}\n"),
              HasSubstr("tls: not supported by this version"));
  EXPECT_THAT(check("auth: {tokens_file: t}\n"), HasSubstr("auth.tokens_file: not supported"));
  EXPECT_THAT(check("quotas: {a: 1}\n"), HasSubstr("quotas: not supported"));
  EXPECT_EQ(check("device: cuda\n"), "OK");
  EXPECT_EQ(check("device: [cuda:1]\n"), "OK");
  EXPECT_THAT(check("oip: {allow_client_shm: true}\n"),
              HasSubstr("oip.allow_client_shm: not supported"));
  EXPECT_THAT(check("oip: {allow_repository_control: true}\n"),
              HasSubstr("oip.allow_repository_control"));
  const auto check_model = [](const std::string& keys) {
    return CheckSupported(Parse("models: [{name: m, weights: w.pth, " + keys + "}]")).ToString();
  };
  EXPECT_EQ(check_model("task: detect"), "OK");
  EXPECT_EQ(check_model("task: segment"), "OK");
  EXPECT_EQ(check_model("precision: bf16"), "OK");
}

}  // namespace
}  // namespace spatialmamba
