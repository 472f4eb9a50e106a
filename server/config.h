#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/net/model_spec.h"

namespace spatialmamba {

using Milliseconds = std::chrono::milliseconds;

// Where to listen. In the file: HOST:PORT, with brackets around an IPv6 host ("[::1]:8001").
struct Endpoint {
  std::string host;
  int port = 0;  // 0: any free port

  std::string ToString() const;
  bool operator==(const Endpoint&) const = default;
};

enum class DeviceKind { kAuto, kCpu, kCuda };

// `auto` (every GPU that can be used, else the CPU), `cpu`, `cuda` (the same without the CPU), or a
// list such as [cuda:0, cuda:2].
struct DeviceConfig {
  DeviceKind kind = DeviceKind::kAuto;
  std::vector<int> cuda;  // GPU numbers, without repetition; empty: all of them
  bool operator==(const DeviceConfig&) const = default;
};

// Bounds of a model's queue and batches.
struct BatchingConfig {
  int64_t max_batch_size = 32;            // images a batch, 1..4096
  int64_t max_batch_pixels = 0;           // of network input a batch; 0: from the device's memory
  int64_t max_queue = 1024;               // images admitted and not yet dispatched, 1..1000000
  Milliseconds default_deadline{30'000};  // for calls that carry none, 1ms..1h
  bool operator==(const BatchingConfig&) const = default;
};

// What one request, and all requests together, may take.
struct LimitsConfig {
  int64_t message_bytes = 32LL << 20;  // largest request message
  int64_t reply_bytes = 4LL << 20;  // largest reply; 4 MiB is what gRPC clients accept by default
  int64_t image_pixels = 100'000'000;  // largest picture, from its header, before it is decoded
  int64_t images_per_request = 64;
  int64_t queue_bytes = 512LL << 20;  // host memory of pictures that wait, as they came
  int64_t decode_bytes = 1LL << 30;   // host memory of pictures in decoding and decoded ones
  bool operator==(const LimitsConfig&) const = default;
};

struct GrpcConfig {
  Milliseconds max_connection_age{
      300'000};  // then clients reconnect, and so find new pods; 0s: never
  Milliseconds max_connection_age_grace{
      30'000};  // for calls in flight when a connection's age is reached
  Milliseconds keepalive_time{
      60'000};  // silence after which the server asks whether a client lives
  Milliseconds keepalive_timeout{20'000};  // how long it waits for the answer
  int64_t max_concurrent_streams = 256;    // calls at a time on a connection
  bool reflection = true;
  bool channelz = false;
  bool operator==(const GrpcConfig&) const = default;
};

enum class ClientAuth { kNone, kOptional, kRequire };

// All paths empty: no TLS.
struct TlsConfig {
  std::filesystem::path certificate;           // PEM chain; needs `key`
  std::filesystem::path key;                   // PEM
  std::filesystem::path client_ca;             // PEM; who signs client certificates
  ClientAuth client_auth = ClientAuth::kNone;  // anything else needs `client_ca`
  Milliseconds refresh{60'000};                // how often the files are looked at for changes
  bool operator==(const TlsConfig&) const = default;
};

struct AuthConfig {
  std::filesystem::path tokens_file;  // one `tenant token` a line; empty: no authentication
  bool operator==(const AuthConfig&) const = default;
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogConfig {
  LogLevel level = LogLevel::kInfo;  // debug | info | warning | error
  LogFormat format = LogFormat::kText;
  double sample = 1.0;  // share of successful requests that get a line, 0..1; failures always do
  bool operator==(const LogConfig&) const = default;
};

struct MetricsConfig {
  std::vector<double> latency_buckets;  // seconds, rising; empty: the default bounds
  bool operator==(const MetricsConfig&) const = default;
};

// Open Inference Protocol. This version does not serve it: `enabled` changes nothing.
struct OipConfig {
  bool enabled = true;
  bool allow_client_shm = false;
  bool allow_repository_control = false;
  bool operator==(const OipConfig&) const = default;
};

struct DrainConfig {
  Milliseconds delay{0};         // keep accepting for so long after SIGTERM, readiness already off
  Milliseconds timeout{25'000};  // then what is unfinished fails
  bool operator==(const DrainConfig&) const = default;
};

enum class Precision { kAuto, kFp32, kBf16 };

// One class of a model: its index is its place in the list.
struct ClassLabel {
  std::string name;
  int64_t id = 0;  // the data set's own number; its index where none is given
  std::optional<std::array<uint8_t, 3>> color;  // RGB
  bool operator==(const ClassLabel&) const = default;
};

// Input rule. Empty fields: the weights file's metadata decides, else the published default of the
// task.
struct PreprocessConfig {
  std::optional<int64_t> resize_short;  // classify; pixels
  std::optional<int64_t> crop;          // classify; pixels; 0: no resize and no crop
  std::optional<std::array<int64_t, 2>>
      scale;                                 // detect, segment; longest and shortest side, pixels
  std::optional<int64_t> pad;                // detect; multiple of this many pixels
  std::optional<std::array<float, 3>> mean;  // R G B, of 0..255 values
  std::optional<std::array<float, 3>> std;
  std::optional<bool> apply_orientation;  // file: orientation: apply | ignore
  bool operator==(const PreprocessConfig&) const = default;
};

// Empty fields as in PreprocessConfig. The first six belong to detect, the rest to segment.
struct HeadConfig {
  std::optional<int64_t> fpn_channels;
  std::optional<int64_t> fc_channels;
  std::optional<bool> masks;
  std::optional<double> score_threshold;  // 0..1
  std::optional<double> nms_iou;          // 0..1
  std::optional<int64_t> max_detections;
  std::optional<int64_t> channels;
  std::optional<std::vector<int64_t>> pool_scales;
  bool operator==(const HeadConfig&) const = default;
};

struct ModelConfig {
  std::string name;                // required; letters, digits, "-", "_", "."
  std::string version = "1";       // decimal; (name, version) is unique
  std::optional<VisionTask> task;  // empty: from the file's metadata
  std::optional<Variant> variant;  // empty: from the file's metadata
  std::filesystem::path weights;   // required
  std::string weights_key;  // which state dict of a file with several; empty: found by itself
  std::string sha256;       // of the weights file, 64 lower-case hex digits; empty: not checked
  std::string
      classes_source;  // "imagenet", "coco", "ade20k" or a file; empty: listed or from metadata
  std::optional<std::vector<ClassLabel>> classes;  // already read from `classes_source`
  Precision precision = Precision::kAuto;          // bf16 on GPUs, fp32 on the CPU
  PreprocessConfig preprocess;
  HeadConfig head;
  BatchingConfig batching;  // the general bounds with this model's overrides
  bool operator==(const ModelConfig&) const = default;
};

// The whole configuration, validated. Defaults are the product's; paths are absolute.
struct Config {
  Endpoint listen{"0.0.0.0", 8001};  // gRPC
  Endpoint admin{"0.0.0.0", 8002};   // HTTP: /metrics /livez /readyz /version
  DeviceConfig device;
  int64_t threads = 0;         // CPU compute threads; 0: as many as cores
  int64_t decode_threads = 0;  // as `threads`
  BatchingConfig batching;
  LimitsConfig limits;
  GrpcConfig grpc;
  TlsConfig tls;
  AuthConfig auth;
  std::map<std::string, double> quotas;  // tenant: weight
  LogConfig log;
  MetricsConfig metrics;
  OipConfig oip;
  DrainConfig drain;
  std::vector<ModelConfig> models;  // at least one
  bool operator==(const Config&) const = default;
};

// What `ParseConfig` reads besides the text.
struct ConfigSource {
  std::string name;                // of the file, for messages
  std::filesystem::path base_dir;  // relative paths are relative to it
  std::vector<std::string>
      overrides;  // "batching.max_batch_size=4", "models.0.name=x"; values are YAML
};

// Reads and validates a file. Every error is one line that names file, line, key and remedy.
absl::StatusOr<Config> LoadConfig(const std::filesystem::path& path,
                                  const std::vector<std::string>& overrides = {});
absl::StatusOr<Config> ParseConfig(std::string_view text, const ConfigSource& source);

// The effective configuration as YAML, every default included; parses back to an equal Config.
std::string FormatConfig(const Config& config);

// An error if the configuration asks for something that this version does not do.
absl::Status CheckSupported(const Config& config);

// Fills what `model` leaves empty from the metadata of a safetensors file of ours: keys task,
// variant, classes, preprocess and head, whose values are written as in the configuration, as JSON.
// Other keys are ignored. The configuration wins. Then checks that the keys fit the task and each
// other, which depends on both: call it for files without metadata too. `file` is for messages.
absl::Status ApplyMetadata(const std::map<std::string, std::string>& metadata,
                           std::string_view file, ModelConfig& model);

}  // namespace spatialmamba
