#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "server/config_fields.h"

namespace spatialmamba {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Every key of the contract, each with a value that is not its default.
constexpr const char* kEveryKey = R"(
listen: 127.0.0.1:9001
admin: "[::1]:9002"
device: [cuda:0, cuda:2]
threads: 3
decode_threads: 2
batching: {max_batch_size: 16, max_batch_pixels: 5000000, max_queue: 64, default_deadline: 1500ms}
limits: {message_bytes: 16MiB, reply_bytes: 8MiB, image_pixels: 1000, images_per_request: 5, queue_bytes: 1GiB,
         decode_bytes: 2097152}
grpc: {max_connection_age: 1h, max_connection_age_grace: 10s, keepalive_time: 90s, keepalive_timeout: 5s,
       max_concurrent_streams: 7, reflection: false, channelz: true}
tls: {certificate: tls/cert.pem, key: tls/key.pem, client_ca: /etc/ca.pem, client_auth: require, refresh: 2m}
auth: {tokens_file: ../tokens}
quotas: {alice: 2, bob.example: 0.5}
log: {level: warning, format: json, sample: 0.25}
metrics: {latency_buckets: [0.01, 0.1, 1]}
oip: {enabled: false, allow_client_shm: true, allow_repository_control: true}
drain: {delay: 5s, timeout: 40s}
models:
  - name: clothing
    version: "12"
    task: classify
    variant: {dim: 16, depths: [1, 1, 2, 1]}
    weights: models/clothing.safetensors
    weights_key: model_ema
    sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    classes: [shirt, {name: "hat, \"high\"", id: 7, color: [1, 2, 255]}]
    precision: fp32
    preprocess: {resize_short: 128, crop: 112, mean: [1, 2.5, 103.53], std: [58.395, 57, 1], orientation: ignore}
    head: {}
    batching: {max_batch_size: 8}
  - name: boxes
    task: detect
    variant: small
    weights: /weights/boxes.pth
    classes: coco
    precision: bf16
    preprocess: {scale: [1000, 600], pad: 64}
    head: {fpn_channels: 128, fc_channels: 512, masks: false, score_threshold: 0.1, nms_iou: 0.6, max_detections: 50}
  - name: pixels
    task: segment
    variant: base
    weights: pixels.pth
    classes: ade20k
    preprocess: {scale: [1024, 256]}
    head: {channels: 256, pool_scales: [1, 3]}
)";

Config Parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const absl::StatusOr<Config> config = ParseConfig(text, {"test.yaml", "/base/dir", overrides});
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

std::string MinimalModel() { return "models: [{name: m, weights: w.pth}]\n"; }

std::string SourcePath(const std::string& path) {
  return std::string(SPATIALMAMBA_SOURCE_DIR) + "/" + path;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Config, ReadsEveryServerKey) {
  const Config c = Parse(kEveryKey);
  EXPECT_EQ(c.listen, (Endpoint{"127.0.0.1", 9001}));
  EXPECT_EQ(c.admin, (Endpoint{"::1", 9002}));
  EXPECT_EQ(c.device, (DeviceConfig{DeviceKind::kCuda, {0, 2}}));
  EXPECT_EQ(c.threads, 3);
  EXPECT_EQ(c.decode_threads, 2);
  EXPECT_EQ(c.batching, (BatchingConfig{16, 5'000'000, 64, Milliseconds(1500)}));
  EXPECT_EQ(c.limits, (LimitsConfig{16 << 20, 8 << 20, 1000, 5, 1 << 30, 2 << 20}));
  EXPECT_EQ(c.grpc, (GrpcConfig{Milliseconds(3'600'000), Milliseconds(10'000), Milliseconds(90'000),
                                Milliseconds(5'000), 7, false, true}));
  EXPECT_EQ(c.tls, (TlsConfig{"/base/dir/tls/cert.pem", "/base/dir/tls/key.pem", "/etc/ca.pem",
                              ClientAuth::kRequire, Milliseconds(120'000)}));
  EXPECT_EQ(c.auth.tokens_file, "/base/tokens");
  EXPECT_EQ(c.quotas, (std::map<std::string, double>{{"alice", 2}, {"bob.example", 0.5}}));
  EXPECT_EQ(c.log, (LogConfig{LogLevel::kWarning, LogFormat::kJson, 0.25}));
  EXPECT_THAT(c.metrics.latency_buckets, ElementsAre(0.01, 0.1, 1));
  EXPECT_EQ(c.oip, (OipConfig{false, true, true}));
  EXPECT_EQ(c.drain, (DrainConfig{Milliseconds(5'000), Milliseconds(40'000)}));
}

TEST(Config, ReadsEveryKeyOfAClassifier) {
  const Config c = Parse(kEveryKey);
  ASSERT_EQ(c.models.size(), 3U);
  const ModelConfig& m = c.models[0];
  EXPECT_EQ(m.name, "clothing");
  EXPECT_EQ(m.version, "12");
  EXPECT_EQ(m.task, VisionTask::kClassify);
  EXPECT_EQ(m.variant, (Variant{16, {1, 1, 2, 1}}));
  EXPECT_EQ(m.weights, "/base/dir/models/clothing.safetensors");
  EXPECT_EQ(m.weights_key, "model_ema");
  EXPECT_EQ(m.sha256.substr(0, 8), "01234567");
  EXPECT_EQ(m.precision, Precision::kFp32);
  EXPECT_EQ(m.classes_source, "");
  ASSERT_EQ(m.classes->size(), 2U);
  EXPECT_EQ((*m.classes)[0], (ClassLabel{"shirt", 0, std::nullopt}));
  EXPECT_EQ((*m.classes)[1], (ClassLabel{"hat, \"high\"", 7, std::array<uint8_t, 3>{1, 2, 255}}));
  EXPECT_EQ(m.preprocess.resize_short, 128);
  EXPECT_EQ(m.preprocess.crop, 112);
  EXPECT_EQ(m.preprocess.mean, (std::array<float, 3>{1, 2.5F, 103.53F}));
  EXPECT_EQ(m.preprocess.std, (std::array<float, 3>{58.395F, 57, 1}));
  EXPECT_EQ(m.preprocess.apply_orientation, false);
  EXPECT_EQ(m.head, HeadConfig());
}

TEST(Config, ReadsEveryKeyOfADetectorAndASegmenter) {
  const Config c = Parse(kEveryKey);
  ASSERT_EQ(c.models.size(), 3U);
  const ModelConfig& boxes = c.models[1];
  EXPECT_EQ(boxes.task, VisionTask::kDetect);
  EXPECT_EQ(boxes.variant, FindVariant("small"));
  EXPECT_EQ(boxes.precision, Precision::kBf16);
  EXPECT_EQ(boxes.preprocess.scale, (std::array<int64_t, 2>{1000, 600}));
  EXPECT_EQ(boxes.preprocess.pad, 64);
  HeadConfig head;
  head.fpn_channels = 128;
  head.fc_channels = 512;
  head.masks = false;
  head.score_threshold = 0.1;
  head.nms_iou = 0.6;
  head.max_detections = 50;
  EXPECT_EQ(boxes.head, head);
  EXPECT_EQ(boxes.version, "1");
  const ModelConfig& pixels = c.models[2];
  EXPECT_EQ(pixels.task, VisionTask::kSegment);
  EXPECT_EQ(pixels.head.channels, 256);
  EXPECT_EQ(pixels.head.pool_scales, (std::vector<int64_t>{1, 3}));
}

TEST(Config, ModelOverridesTheGeneralBatchingKeyByKey) {
  const Config c = Parse(kEveryKey);
  EXPECT_EQ(c.models[0].batching, (BatchingConfig{8, 5'000'000, 64, Milliseconds(1500)}));
  EXPECT_EQ(c.models[1].batching, c.batching);
}

TEST(Config, WhatIsLeftOutKeepsItsDefault) {
  Config expected;
  expected.models.resize(1);
  expected.models[0].name = "m";
  expected.models[0].weights = "/base/dir/w.pth";
  EXPECT_EQ(Parse(MinimalModel()), expected);
  EXPECT_EQ(Parse("batching:\nlog: {}\n" + MinimalModel()), expected);
  EXPECT_EQ(Parse("batching: {max_queue: 5}\n" + MinimalModel()).batching.max_batch_size, 32);
}

TEST(Config, FormatParsesBackToItself) {
  for (const std::string& text : {std::string(kEveryKey), MinimalModel()}) {
    const Config config = Parse(text);
    EXPECT_EQ(Parse(FormatConfig(config)), config) << FormatConfig(config);
  }
}

TEST(Config, FormatShowsDefaults) {
  const std::string text = FormatConfig(Parse(MinimalModel()));
  EXPECT_THAT(text, HasSubstr("listen: \"0.0.0.0:8001\"\n"));
  EXPECT_THAT(text, HasSubstr("  message_bytes: 32MiB\n"));
  EXPECT_THAT(text, HasSubstr("  default_deadline: 30s\n"));
  EXPECT_THAT(text, HasSubstr("    max_queue: 1024\n"));
}

// Walks the list of keys as the reader does, and only notes their names.
struct KeyCollector {
  std::vector<std::string> keys;

  template <typename... Args>
  void Add(std::string_view key, Args&&...) {
    keys.emplace_back(key);
  }
  template <typename... Args>
  void Count(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Number(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Flag(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Choice(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Numbers(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Time(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Size(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Text(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Path(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Address(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Device(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void VariantField(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Classes(Args&&... args) {
    Add(args...);
  }
  template <typename... Args>
  void Weights(Args&&... args) {
    Add(args...);
  }
  template <typename T>
  void Group(std::string_view key, T& fields) {
    Add(key);
    Fields(*this, fields);
  }
  void Models(std::string_view key, Config&) {
    Add(key);
    ModelConfig model;
    Fields(*this, model);
  }
};

TEST(SampleConfig, ParsesAndHoldsTheDefaults) {
  const absl::StatusOr<Config> config = LoadConfig(SourcePath("deploy/config.yaml"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(CheckSupported(*config).ok());
  ASSERT_EQ(config->models.size(), 1U);
  EXPECT_EQ(config->models[0].weights, SourcePath("deploy/models/clothing.safetensors"));
  Config defaults;
  defaults.models = config->models;
  EXPECT_EQ(*config, defaults);
}

TEST(SampleConfig, DocumentsEveryKey) {
  const std::string sample = ReadText(SourcePath("deploy/config.yaml"));
  KeyCollector collector;
  Config config;
  Fields(collector, config);
  EXPECT_GT(collector.keys.size(), 60U);
  for (const std::string& key : collector.keys) EXPECT_THAT(sample, HasSubstr(key + ":"));
}

TEST(Config, OverridesWinAndMakeWhatIsMissing) {
  const Config c = Parse(
      "batching: {max_batch_size: 8}\n" + MinimalModel(),
      {"batching.max_batch_size=4", "models.0.name=x", "models.0.classes=[a, b]", "log.format=json",
       "models.1.name=y", "models.1.weights=v.pth", "listen=127.0.0.1:0", "tls.key="});
  EXPECT_EQ(c.batching.max_batch_size, 4);
  ASSERT_EQ(c.models.size(), 2U);
  EXPECT_EQ(c.models[0].name, "x");
  EXPECT_EQ(c.models[0].weights, "/base/dir/w.pth");
  EXPECT_EQ(c.models[0].classes->size(), 2U);
  EXPECT_EQ(c.models[1].name, "y");
  EXPECT_EQ(c.log.format, LogFormat::kJson);
  EXPECT_EQ(c.listen.port, 0);
  EXPECT_EQ(c.tls.key, "");
}

TEST(Config, AcceptsAliasesAndTextThatYamlReadersTakeForBooleans) {
  const Config c = Parse(
      "models:\n"
      "  - {name: a, weights: w.pth, preprocess: &input {crop: 0}, classes: [yes, no, on, 010]}\n"
      "  - {name: b, weights: w.pth, preprocess: *input}\n");
  EXPECT_EQ(c.models[1].preprocess.crop, 0);
  EXPECT_EQ((*c.models[0].classes)[0].name, "yes");
  EXPECT_EQ((*c.models[0].classes)[3].name, "010");
}

}  // namespace
}  // namespace spatialmamba
