#include "tests/layering/include_rules.h"

#include <algorithm>
#include <array>
#include <span>
#include <sstream>

namespace spatialmamba {
namespace {

using Prefixes = std::span<const std::string_view>;

// A layer and those layers of the tree that it may include besides itself.
struct Layer {
  std::string_view folder;
  std::vector<std::string_view> may_include;
};

const std::array<Layer, 9>& Layers() {
  static const std::array<Layer, 9> kLayers = {{
      {"model/ops/", {}},
      {"model/weights/", {}},
      {"model/image/", {}},
      {"model/net/", {"model/ops/", "model/weights/"}},
      {"model/runtime/", {"model/net/", "model/ops/", "model/weights/"}},
      {"model/tasks/", {"model/image/", "model/net/", "model/ops/", "model/weights/"}},
      {"batching/", {}},
      {"server/", {"batching/", "model/", "proto/"}},
      {"clients/", {"proto/"}},
  }};
  return kLayers;
}

// Libraries that stay where they belong: `headers` are the beginnings of their paths, `homes` the
// folders that may include them.
struct Library {
  std::string_view name;
  std::vector<std::string_view> headers;
  std::vector<std::string_view> homes;
};

const std::array<Library, 5>& Libraries() {
  static const std::array<Library, 5> kLibraries = {{
      {"LibTorch", {"torch/", "ATen/", "c10/", "caffe2/"}, {"model/weights/"}},
      {"gRPC and protobuf", {"grpc/", "grpcpp/", "google/"}, {"server/", "clients/", "proto/"}},
      {"prometheus-cpp", {"prometheus/"}, {"server/"}},
      {"an image library",
       {"opencv2/", "turbojpeg.h", "jpeglib.h", "png.h", "webp/", "tiff"},
       {"model/image/", "model/tasks/"}},
      // Kernels include model/ops/kernel.h instead, or they could not run on the CPU for tests.
      {"CUDA",
       {"cuda", "cooperative_groups", "driver_types.h", "curand", "cub/", "thrust/"},
       {"model/ops/kernel.h", "model/ops/launch_error.h", "model/ops/cuda_api.cc",
        "model/runtime/cuda_devices.cc"}},
  }};
  return kLibraries;
}

bool StartsWithAny(std::string_view path, Prefixes prefixes) {
  return std::ranges::any_of(prefixes,
                             [&](std::string_view prefix) { return path.starts_with(prefix); });
}

// Generated headers of the protocol are found both with and without the folder proto/.
bool IsProtocol(std::string_view path) {
  return path.starts_with("proto/") || path.ends_with(".pb.h");
}

bool IsOurs(std::string_view path) {
  constexpr std::array<std::string_view, 6> kTops = {"model/",   "batching/", "server/",
                                                     "clients/", "proto/",    "tests/"};
  return StartsWithAny(path, kTops);
}

bool LayerAllows(const Layer& layer, std::string_view path) {
  if (path.starts_with(layer.folder) || StartsWithAny(path, layer.may_include)) {
    return true;
  }
  return IsProtocol(path)
             ? std::ranges::find(layer.may_include, "proto/") != layer.may_include.end()
             : !IsOurs(path);
}

}  // namespace

std::vector<std::string> IncludedPaths(std::string_view source) {
  std::vector<std::string> paths;
  std::istringstream lines{std::string(source)};
  for (std::string line; std::getline(lines, line);) {
    const size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') {
      continue;
    }
    const size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) {
      continue;
    }
    const size_t open = line.find_first_of("\"<", word);
    const size_t close = open == std::string::npos ? open : line.find_first_of("\">", open + 1);
    if (close != std::string::npos) {
      paths.push_back(line.substr(open + 1, close - open - 1));
    }
  }
  return paths;
}

std::vector<std::string> IncludeViolations(std::string_view file, std::string_view source) {
  std::vector<std::string> violations;
  const auto report = [&](std::string_view path, const std::string& rule) {
    violations.push_back(std::string(file) + " includes " + std::string(path) + ": " + rule);
  };
  for (const std::string& path : IncludedPaths(source)) {
    if (path.starts_with(".")) {
      report(path, "includes are written from the top of the tree");
    }
    for (const Layer& layer : Layers()) {
      if (file.starts_with(layer.folder) && !LayerAllows(layer, path)) {
        report(path, std::string(layer.folder) + " may not depend on it");
      }
    }
    for (const Library& library : Libraries()) {
      if (!file.starts_with("tests/") && StartsWithAny(path, library.headers) &&
          !StartsWithAny(file, library.homes)) {
        report(path, std::string(library.name) + " has no place here");
      }
    }
  }
  return violations;
}

}  // namespace spatialmamba
