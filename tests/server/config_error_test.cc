#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/config.h"

namespace spatialmamba {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct BadConfig {
  std::string name;
  std::string text;                   // a valid model follows it unless it has models
  std::vector<std::string> expected;  // parts of the message
  std::vector<std::string> overrides = {};
};

void PrintTo(const BadConfig& bad, std::ostream* out) { *out << bad.name; }

class ConfigError : public ::testing::TestWithParam<BadConfig> {};

TEST_P(ConfigError, NamesFileLineKeyAndRemedy) {
  std::string text = GetParam().text;
  if (text.find("models") == std::string::npos) text += "\nmodels: [{name: m, weights: w.pth}]\n";
  const absl::StatusOr<Config> config =
      ParseConfig(text, {"conf.yaml", "/base", GetParam().overrides});
  ASSERT_FALSE(config.ok());
  const std::string message(config.status().message());
  for (const std::string& part : GetParam().expected) EXPECT_THAT(message, HasSubstr(part));
  EXPECT_THAT(message, Not(HasSubstr("\n"))) << "one line";
}

const std::vector<BadConfig>& BadConfigs() {
  static const std::vector<BadConfig> kBad = {
      {"UnknownKey",
       "batching:\n  max_batchsize: 3",
       {"conf.yaml:2: batching.max_batchsize: is unknown", "did you mean max_batch_size?"}},
      {"KeyCutShort",
       "batching: {max_batch: 3}",
       {"batching.max_batch: is unknown; did you mean max_batch_"}},
      {"UnknownKeyFarFromAny",
       "colour: 3",
       {"conf.yaml:1: colour: is unknown", "the keys here are listen, admin"}},
      {"UnknownModelKey",
       "models:\n- name: m\n  weights: w\n  crop: 3",
       {"conf.yaml:4: models.0.crop: is unknown"}},
      {"DuplicateKey",
       "threads: 1\nlog: {}\nthreads: 2",
       {"conf.yaml:3: threads", "already given at conf.yaml:1"}},
      {"DuplicateNestedKey", "log: {level: info,\n      level: info}", {"conf.yaml:2: level"}},
      {"SecondDocument", "threads: 1\n---\nthreads: 2", {"conf.yaml:", "second document"}},
      {"MapAfterList",
       "- threads\nlog: {}",
       {"conf.yaml:2: a second document", "keys at the margin"}},
      {"BadSyntax", "threads: 1\nlog: {level: info", {"conf.yaml:", "not valid YAML"}},
      {"TabIndent", "log:\n\tlevel: info", {"conf.yaml:2", "not valid YAML"}},
      {"Tag", "threads: !!int 3", {"conf.yaml:1", "tag"}},
      {"KeyIsAList", "[a, b]: 3", {"conf.yaml:1", "a key must be plain text"}},
      {
          "TopIsAList",
          "- models",
          {"conf.yaml:1", "must be a map"},
      },
      {"GroupIsAScalar", "log: info", {"conf.yaml:1: log: must be a map", "\"info\""}},
      {"CountIsText",
       "threads: many",
       {"conf.yaml:1: threads: must be a whole number from 0 to 4096", "\"many\""}},
      {"CountIsFraction", "threads: 2.5", {"threads: must be a whole number"}},
      {"CountIsNegative", "threads: -1", {"threads: must be a whole number from 0"}},
      {"CountIsQuoted", "threads: \"2\"", {"threads: must be", "without quotes"}},
      {"CountIsOctal", "threads: 010", {"threads: must be", "write 10"}},
      {"CountIsHexadecimal", "threads: 0x10", {"threads: must be a whole number"}},
      {"CountIsEmpty",
       "threads:",
       {"conf.yaml:1: threads: must be", "give a value or remove the key"}},
      {"CountIsAList", "threads: [1]", {"threads: must be", "not a list"}},
      {"CountIsTooLarge",
       "batching: {max_batch_size: 5000}",
       {"batching.max_batch_size: must be a whole number from 1 to 4096"}},
      {"CountOverflows", "threads: 99999999999999999999", {"threads: must be"}},
      {"FlagIsYes",
       "grpc: {reflection: yes}",
       {"grpc.reflection: must be true or false", "\"yes\""}},
      {"FlagIsQuoted",
       "grpc: {reflection: \"true\"}",
       {"grpc.reflection: must be true or false (without quotes)"}},
      {"TimeWithoutUnit",
       "drain: {delay: 5}",
       {"drain.delay: must be a time from 0s to 1h", "such as 30s"}},
      {"TimeWithFraction", "drain: {delay: 1.5s}", {"drain.delay: must be a time"}},
      {"TimeOutOfRange", "drain: {timeout: 2h}", {"drain.timeout: must be a time from 0s to 1h"}},
      {"TimeOverflows",
       "drain: {timeout: 9223372036854775807h}",
       {"drain.timeout: must be a time"}},
      {"SizeInDecimalUnits",
       "limits: {message_bytes: 32MB}",
       {"limits.message_bytes: must be a size", "KiB, MiB or GiB"}},
      {"SizeBeyondGrpc",
       "limits: {message_bytes: 2GiB}",
       {"limits.message_bytes: must be a size from 1KiB to 2047MiB"}},
      {"NumberIsNan", "log: {sample: .nan}", {"log.sample: must be a number from 0 to 1"}},
      {"NumberOutOfRange", "log: {sample: 1.5}", {"log.sample: must be a number from 0 to 1"}},
      {"Choice",
       "log: {level: loud}",
       {"log.level: must be one of debug, info, warning, error, not \"loud\""}},
      {"ListenWithoutPort", "listen: localhost", {"conf.yaml:1: listen: must be HOST:PORT"}},
      {"ListenIpv6WithoutBrackets", "listen: ::1:8001", {"listen: must be HOST:PORT"}},
      {"ListenPortTooLarge", "listen: 0.0.0.0:70000", {"listen: must be HOST:PORT"}},
      {"SameAddressTwice",
       "listen: a:1\nadmin: a:1",
       {"conf.yaml:2: admin: is the same address as listen"}},
      {"Device", "device: gpu", {"device: must be auto, cpu, cuda"}},
      {"DeviceTwice", "device: [cuda:0, cuda:0]", {"device: names cuda:0 twice"}},
      {"DeviceListOfCpu", "device: [cpu]", {"device: must be"}},
      {"TlsKeyMissing",
       "tls: {certificate: a.pem}",
       {"conf.yaml:1: tls: needs certificate and key together"}},
      {"TlsClientCaMissing",
       "tls: {certificate: a, key: b, client_auth: require}",
       {"tls: client_auth needs client_ca"}},
      {"QuotaWeight", "quotas: {alice: 0}", {"quotas.alice: must be a number"}},
      {"QuotaTenant", "quotas: {\"a b\": 1}", {"conf.yaml:1: quotas: a tenant's name"}},
      {"BucketsFall",
       "metrics: {latency_buckets: [1, 0.5]}",
       {"metrics: latency_buckets must rise"}},
      {"BucketsAreNoList",
       "metrics: {latency_buckets: 1}",
       {"metrics.latency_buckets: must be a list"}},
      {"NoModels", "models: []", {"conf.yaml:1: models: names no model"}},
      {"ModelsIsAMap", "models: {name: m}", {"models: must be a list"}},
      {"ModelWithoutName", "models:\n- weights: w", {"conf.yaml:2: models.0.name: must be"}},
      {"ModelNameWithBlank",
       "models:\n- weights: w\n  name: a b",
       {"conf.yaml:3: models.0.name: must be"}},
      {"ModelWithoutWeights", "models: [{name: m}]", {"models.0.weights: is missing"}},
      {"ModelTwice",
       "models:\n- {name: m, weights: w}\n- {name: m, weights: v}",
       {"conf.yaml:3: models.1.name: is used twice with version 1"}},
      {"ModelVersion",
       "models: [{name: m, weights: w, version: v2}]",
       {"models.0.version: must be a decimal number"}},
      {"ModelVersionLeadingZero",
       "models: [{name: m, weights: w, version: 01}]",
       {"models.0.version: must be"}},
      {"ModelSha256",
       "models: [{name: m, weights: w, sha256: abc}]",
       {"models.0.sha256: must be the 64"}},
      {"ModelTask",
       "models: [{name: m, weights: w, task: paint}]",
       {"models.0.task: must be one of classify, detect, segment"}},
      {"VariantName",
       "models: [{name: m, weights: w, variant: huge}]",
       {"models.0.variant: must be tiny, small, base"}},
      {"VariantDepths",
       "models: [{name: m, weights: w, variant: {dim: 8, depths: [1, 2]}}]",
       {"models.0.variant: depths must be a list", "of 4 numbers"}},
      {"VariantDim",
       "models: [{name: m, weights: w, variant: {dim: x, depths: [1, 1, 1, 1]}}]",
       {"models.0.variant: dim must be a whole number"}},
      {"ClassesFileMissing",
       "models: [{name: m, weights: w, classes: imagnet}]",
       {"models.0.classes: names the class file /base/imagnet", "give imagenet, coco, ade20k"}},
      {"ClassesEmpty",
       "models: [{name: m, weights: w, classes: []}]",
       {"models.0.classes: must be a list of 1 to"}},
      {"ClassesColor",
       "models: [{name: m, weights: w, classes: [{name: a, color: [1, 2, 300]}]}]",
       {"models.0.classes: class 0: color entry 2 must be"}},
      {"ClassesUnknownKey",
       "models: [{name: m, weights: w, classes: [{nam: a}]}]",
       {"class 0: nam is unknown"}},
      {"MeanLength",
       "models: [{name: m, weights: w, preprocess: {mean: [1, 2]}}]",
       {"models.0.preprocess.mean: must be a list in square brackets of 3 numbers, but has 2"}},
      {"StdZero",
       "models: [{name: m, weights: w, preprocess: {std: [1, 0, 1]}}]",
       {"models.0.preprocess.std: entry 1 must be a number"}},
      {"CropBeyondResize",
       "models: [{name: m, weights: w, preprocess: {crop: 300, resize_short: 256}}]",
       {"models.0.preprocess: crop, 300, is larger than resize_short, 256"}},
      {"KeyOfAnotherTask",
       "models: [{name: m, weights: w, task: classify, preprocess: {pad: 32}}]",
       {"models.0.preprocess: pad does not apply to the task classify"}},
      {"HeadOfAnotherTask",
       "models: [{name: m, weights: w, task: segment, head: {masks: true}}]",
       {"models.0.head: masks does not apply to the task segment"}},
      {"Orientation",
       "models: [{name: m, weights: w, preprocess: {orientation: turn}}]",
       {"preprocess.orientation: must be one of apply, ignore"}},
      {"OverrideValue",
       "threads: 1",
       {"--set threads=x: threads: must be a whole number"},
       {"threads=x"}},
      {"OverrideUnknownKey",
       "threads: 1",
       {"--set batching.size=1: batching.size: is unknown"},
       {"batching.size=1"}},
      {"OverrideWithoutEquals",
       "threads: 1",
       {"--set threads: write it as key=value"},
       {"threads"}},
      {"OverrideIndexBeyond",
       "models: [{name: m, weights: w}]",
       {"--set models.3.name=x", "leads nowhere"},
       {"models.3.name=x"}},
      {"OverrideIntoScalar", "threads: 1", {"--set threads.a=1", "leads nowhere"}, {"threads.a=1"}},
  };
  return kBad;
}

INSTANTIATE_TEST_SUITE_P(All, ConfigError, ::testing::ValuesIn(BadConfigs()),
                         [](const auto& bad) { return bad.param.name; });

TEST(ConfigErrors, EmptyFileSaysWhatIsMissing) {
  const absl::StatusOr<Config> config = ParseConfig("", {"conf.yaml", "/base", {}});
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("conf.yaml: models: names no model"));
}

TEST(ConfigErrors, FileThatCannotBeReadIsNamed) {
  for (const char* path : {"/nowhere/conf.yaml", "/tmp"}) {
    const absl::StatusOr<Config> config = LoadConfig(path);
    ASSERT_FALSE(config.ok());
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr(std::string(path) + ": cannot be read"));
  }
}

TEST(ConfigErrors, AliasesThatMultiplyAreStopped) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string alias = absl::StrCat("*a", i - 1);
    absl::StrAppend(&text, "a", i, ": &a", i, " [", alias);
    for (int k = 1; k < 10; ++k) absl::StrAppend(&text, ", ", alias);
    absl::StrAppend(&text, "]\n");
  }
  const absl::StatusOr<Config> config = ParseConfig(text, {"conf.yaml", "/base", {}});
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("too large"));
}

TEST(ConfigErrors, DeepNestingIsStopped) {
  const absl::StatusOr<Config> config =
      ParseConfig("a: " + std::string(100'000, '['), {"conf.yaml", "/base", {}});
  EXPECT_FALSE(config.ok());
}

}  // namespace
}  // namespace spatialmamba
