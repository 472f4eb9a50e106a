#include "tests/layering/include_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

struct Example {
  std::string file;
  std::string path;
};

std::string Include(const std::string& path) { return "#include \"" + path + "\"\n"; }

TEST(IncludeRules, FindsEverySpellingOfAnInclude) {
  EXPECT_THAT(IncludedPaths("#include <vector>\n  #  include \"model/ops/gemm.h\"  // why\n// "
                            "#include <no>\nint x;\n"),
              ElementsAre("vector", "model/ops/gemm.h"));
}

class Forbidden : public testing::TestWithParam<Example> {};

TEST_P(Forbidden, IsReported) {
  EXPECT_THAT(IncludeViolations(GetParam().file, Include(GetParam().path)), Not(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(
    IncludeRules, Forbidden,
    testing::Values(Example{"model/ops/gemm.cc", "model/net/layers.h"},
                    Example{"model/ops/gemm.cc", "torch/types.h"},
                    Example{"model/ops/gemm.cc", "model/runtime/replica.h"},
                    Example{"model/weights/binder.cc", "model/ops/gemm.h"},
                    Example{"model/net/layers.cc", "model/runtime/replica.h"},
                    Example{"model/net/layers.cc", "model/image/image.h"},
                    Example{"model/runtime/replica.cc", "model/tasks/classify.h"},
                    Example{"model/runtime/replica.cc", "opencv2/core.hpp"},
                    Example{"model/tasks/classify.cc", "model/runtime/replica.h"},
                    Example{"model/tasks/classify.cc", "prometheus/counter.h"},
                    Example{"batching/batcher.cc", "model/runtime/replica.h"},
                    Example{"batching/batcher.cc", "grpcpp/grpcpp.h"},
                    Example{"batching/batcher.cc", "spatialmamba/v1/vision.pb.h"},
                    Example{"model/tasks/classify.cc", "batching/task.h"},
                    Example{"server/app.cc", "clients/cli.h"},
                    Example{"server/app.cc", "tests/server/fake.h"},
                    Example{"server/app.cc", "ATen/ATen.h"},
                    Example{"clients/cli.cc", "model/net/model_spec.h"},
                    Example{"clients/cli.cc", "server/config.h"},
                    Example{"model/ops/scan_cuda.cu", "cuda_runtime.h"},
                    Example{"model/ops/scan_cuda.cu", "cub/cub.cuh"},
                    Example{"model/ops/scan_cuda.cu", "model/net/layers.h"},
                    Example{"model/net/cuda_backbone.cc", "cuda_runtime_api.h"},
                    Example{"model/ops/gemm.cc", "../net/layers.h"}));

class Allowed : public testing::TestWithParam<Example> {};

TEST_P(Allowed, IsNotReported) {
  EXPECT_THAT(IncludeViolations(GetParam().file, Include(GetParam().path)), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    IncludeRules, Allowed,
    testing::Values(Example{"model/ops/gemm.cc", "hwy/highway.h"},
                    Example{"model/ops/kernel.h", "cuda_on_host.h"},
                    Example{"model/ops/kernel.h", "cuda_bf16.h"},
                    Example{"model/ops/scan_cuda.cu", "model/ops/kernel.h"},
                    Example{"model/net/layers.cc", "model/ops/gemm.h"},
                    Example{"model/runtime/replica.cc", "model/net/classifier.h"},
                    Example{"model/weights/tensor.cc", "ATen/Functions.h"},
                    Example{"model/tasks/preprocess.cc", "opencv2/imgproc.hpp"},
                    Example{"server/pipeline.cc", "model/runtime/replica.h"},
                    Example{"server/pipeline.cc", "proto/spatialmamba/v1/vision.pb.h"},
                    Example{"clients/cli.cc", "spatialmamba/v1/vision.grpc.pb.h"},
                    Example{"tests/model/net/net_test.cc", "torch/torch.h"}));

std::string ReadFile(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

TEST(IncludeRules, HoldInTheWholeTree) {
  const std::filesystem::path root = SPATIALMAMBA_SOURCE_DIR;
  for (const std::string top : {"model", "batching", "server", "clients", "tests"}) {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
      const std::filesystem::path& path = entry.path();
      if (path.extension() != ".cc" && path.extension() != ".h" && path.extension() != ".cu") {
        continue;
      }
      ++files;
      EXPECT_THAT(IncludeViolations(path.lexically_relative(root).generic_string(), ReadFile(path)),
                  IsEmpty());
    }
    EXPECT_GT(files, 0) << "no source was read under " << top;
  }
}

// Where `source` has a kernel, what follows its opening brace.
std::vector<std::string> KernelBodies(const std::string& source) {
  std::vector<std::string> bodies;
  for (size_t at = source.find("__global__"); at != std::string::npos;
       at = source.find("__global__", at + 1)) {
    bodies.push_back(source.substr(source.find_first_not_of(" \n", source.find('{', at) + 1)));
  }
  return bodies;
}

// Kernels may begin while the one before still runs, which none of the tests on a CPU can show.
TEST(Kernels, WaitForThePreviousKernelFirst) {
  const std::filesystem::path root = SPATIALMAMBA_SOURCE_DIR;
  size_t kernels = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "model/ops")) {
    const std::string name = entry.path().filename();
    // That of gemm_kernel.h loads weights first, which no kernel writes; launch_overlap.cu's is
    // never launched.
    if (name == "kernel.h" || name == "gemm_kernel.h" || name == "launch_overlap.cu") continue;
    for (const std::string& body : KernelBodies(ReadFile(entry.path()))) {
      ++kernels;
      EXPECT_TRUE(body.starts_with("WaitForPreviousKernel();"))
          << name << ": " << body.substr(0, 60);
    }
  }
  EXPECT_GE(kernels, 20);
}

}  // namespace
}  // namespace spatialmamba
