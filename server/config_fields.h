#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "server/config.h"

// Every key of the configuration file, once: its name, its kind, its range and the field it fills.
// `ConfigReader` walks these lists to read a file, `ConfigWriter` to write one.
namespace spatialmamba {

inline constexpr int64_t kMaxCount = 1'000'000;
inline constexpr int64_t kMaxPixels = 1'000'000'000;
inline constexpr int64_t kMaxSide = 65'536;
inline constexpr int64_t kMaxThreads = 4096;
inline constexpr int64_t kMaxBytes = 1LL << 44;
inline constexpr int64_t kMaxMessageBytes =
    2047LL << 20;  // gRPC counts a message in a signed 32-bit number
inline constexpr double kMaxNumber = 1e9;

inline constexpr std::array<std::pair<std::string_view, VisionTask>, 3> kTaskNames = {
    {{"classify", VisionTask::kClassify},
     {"detect", VisionTask::kDetect},
     {"segment", VisionTask::kSegment}}};
inline constexpr std::array<std::pair<std::string_view, Precision>, 3> kPrecisionNames = {
    {{"auto", Precision::kAuto}, {"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}}};
inline constexpr std::array<std::pair<std::string_view, ClientAuth>, 3> kClientAuthNames = {
    {{"none", ClientAuth::kNone},
     {"optional", ClientAuth::kOptional},
     {"require", ClientAuth::kRequire}}};
inline constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLogLevelNames = {
    {{"debug", LogLevel::kDebug},
     {"info", LogLevel::kInfo},
     {"warning", LogLevel::kWarning},
     {"error", LogLevel::kError}}};
inline constexpr std::array<std::pair<std::string_view, LogFormat>, 2> kLogFormatNames = {
    {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}};
inline constexpr std::array<std::pair<std::string_view, bool>, 2> kOrientationNames = {
    {{"apply", true}, {"ignore", false}}};

template <typename V>
void Fields(V& v, BatchingConfig& c) {
  v.Count("max_batch_size", c.max_batch_size, 1, 4096);
  v.Count("max_batch_pixels", c.max_batch_pixels, 0, 1'000 * kMaxPixels);
  v.Count("max_queue", c.max_queue, 1, kMaxCount);
  v.Time("default_deadline", c.default_deadline, Milliseconds(1), std::chrono::hours(1));
}

template <typename V>
void Fields(V& v, LimitsConfig& c) {
  v.Size("message_bytes", c.message_bytes, 1024, kMaxMessageBytes);
  v.Size("reply_bytes", c.reply_bytes, 1024, kMaxMessageBytes);
  v.Count("image_pixels", c.image_pixels, 1, kMaxPixels);
  v.Count("images_per_request", c.images_per_request, 1, 4096);
  v.Size("queue_bytes", c.queue_bytes, 1 << 20, kMaxBytes);
  v.Size("decode_bytes", c.decode_bytes, 1 << 20, kMaxBytes);
}

template <typename V>
void Fields(V& v, GrpcConfig& c) {
  constexpr Milliseconds kDay = std::chrono::hours(24);
  v.Time("max_connection_age", c.max_connection_age, Milliseconds(0), kDay);
  v.Time("max_connection_age_grace", c.max_connection_age_grace, Milliseconds(0), kDay);
  v.Time("keepalive_time", c.keepalive_time, std::chrono::seconds(1), kDay);
  v.Time("keepalive_timeout", c.keepalive_timeout, Milliseconds(100), kDay);
  v.Count("max_concurrent_streams", c.max_concurrent_streams, 1, kMaxCount);
  v.Flag("reflection", c.reflection);
  v.Flag("channelz", c.channelz);
}

template <typename V>
void Fields(V& v, TlsConfig& c) {
  v.Path("certificate", c.certificate);
  v.Path("key", c.key);
  v.Path("client_ca", c.client_ca);
  v.Choice("client_auth", c.client_auth, kClientAuthNames);
  v.Time("refresh", c.refresh, std::chrono::seconds(1), std::chrono::hours(24));
}

template <typename V>
void Fields(V& v, AuthConfig& c) {
  v.Path("tokens_file", c.tokens_file);
}

template <typename V>
void Fields(V& v, LogConfig& c) {
  v.Choice("level", c.level, kLogLevelNames);
  v.Choice("format", c.format, kLogFormatNames);
  v.Number("sample", c.sample, 0, 1);
}

template <typename V>
void Fields(V& v, MetricsConfig& c) {
  v.Numbers("latency_buckets", c.latency_buckets, 1e-6, 86'400);
}

template <typename V>
void Fields(V& v, OipConfig& c) {
  v.Flag("enabled", c.enabled);
  v.Flag("allow_client_shm", c.allow_client_shm);
  v.Flag("allow_repository_control", c.allow_repository_control);
}

template <typename V>
void Fields(V& v, DrainConfig& c) {
  v.Time("delay", c.delay, Milliseconds(0), std::chrono::hours(1));
  v.Time("timeout", c.timeout, Milliseconds(0), std::chrono::hours(1));
}

template <typename V>
void Fields(V& v, PreprocessConfig& c) {
  v.Count("resize_short", c.resize_short, 1, kMaxSide);
  v.Count("crop", c.crop, 0, kMaxSide);
  v.Numbers("scale", c.scale, 1, kMaxSide);
  v.Count("pad", c.pad, 1, 4096);
  v.Numbers("mean", c.mean, -kMaxNumber, kMaxNumber);
  v.Numbers("std", c.std, 1e-6, kMaxNumber);
  v.Choice("orientation", c.apply_orientation, kOrientationNames);
}

template <typename V>
void Fields(V& v, HeadConfig& c) {
  v.Count("fpn_channels", c.fpn_channels, 1, kMaxSide);
  v.Count("fc_channels", c.fc_channels, 1, kMaxSide);
  v.Flag("masks", c.masks);
  v.Number("score_threshold", c.score_threshold, 0, 1);
  v.Number("nms_iou", c.nms_iou, 0, 1);
  v.Count("max_detections", c.max_detections, 1, kMaxCount);
  v.Count("channels", c.channels, 1, kMaxSide);
  v.Numbers("pool_scales", c.pool_scales, 1, kMaxSide);
}

// What a weights file's metadata may supply too.
template <typename V>
void DescriptionFields(V& v, ModelConfig& c) {
  v.Choice("task", c.task, kTaskNames);
  v.VariantField("variant", c.variant);
  v.Classes("classes", c);
  v.Group("preprocess", c.preprocess);
  v.Group("head", c.head);
}

template <typename V>
void Fields(V& v, ModelConfig& c) {
  v.Text("name", c.name);
  v.Text("version", c.version);
  v.Path("weights", c.weights);
  v.Text("weights_key", c.weights_key);
  v.Text("sha256", c.sha256);
  v.Choice("precision", c.precision, kPrecisionNames);
  v.Group("batching", c.batching);
  DescriptionFields(v, c);
}

template <typename V>
void Fields(V& v, Config& c) {
  v.Address("listen", c.listen);
  v.Address("admin", c.admin);
  v.Device("device", c.device);
  v.Count("threads", c.threads, 0, kMaxThreads);
  v.Count("decode_threads", c.decode_threads, 0, kMaxThreads);
  v.Group("batching", c.batching);
  v.Group("limits", c.limits);
  v.Group("grpc", c.grpc);
  v.Group("tls", c.tls);
  v.Group("auth", c.auth);
  v.Weights("quotas", c.quotas);
  v.Group("log", c.log);
  v.Group("metrics", c.metrics);
  v.Group("oip", c.oip);
  v.Group("drain", c.drain);
  v.Models("models", c);
}

}  // namespace spatialmamba
