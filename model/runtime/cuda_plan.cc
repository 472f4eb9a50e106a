#include "model/runtime/cuda_plan.h"

#include <utility>

namespace spatialmamba {
namespace {

size_t PixelBytes(const DeviceCapacity& capacity) {
  return 3 * sizeof(float) * static_cast<size_t>(capacity.tokens[0]);
}

}  // namespace

CudaPlan::CudaPlan(const CudaNetwork& network, const DeviceCapacity& capacity, CudaScratch& scratch)
    : network_(network), geometry_(capacity), exchange_(network.MakeExchange(scratch)) {}

CudaPlan::~CudaPlan() { DestroyGraph(graph_); }

size_t CudaPlan::ArenaBytes(const CudaNetwork& network, const DeviceCapacity& capacity) {
  return DeviceArena::RoundUp(PixelBytes(capacity)) + network.WorkspaceBytes(capacity);
}

float* CudaPlan::Place(DeviceArena& arena) const {
  arena.Reset();
  auto* pixels = static_cast<float*>(arena.TakeBytes(PixelBytes(capacity())));
  network_.Place(arena, capacity(), *exchange_);
  return pixels;
}

void CudaPlan::Capture(const CudaWorkspace& workspace) {
  const float* pixels = Place(workspace.arena);
  BeginCapture(workspace.stream);
  try {
    network_.Forward(workspace.arena, geometry_, pixels, *exchange_, workspace.stream);
  } catch (...) {
    AbandonCapture(workspace.stream);
    throw;
  }
  DestroyGraph(std::exchange(graph_, EndCapture(workspace.stream)));
}

std::vector<Prediction> CudaPlan::Run(std::span<const ImageView> images,
                                      std::span<const Span> spans, const CudaWorkspace& workspace) {
  std::vector<Query> queries;
  for (const ImageView& image : images) queries.push_back(image.query);
  float* pixels = Place(workspace.arena);
  geometry_.Fill(spans, workspace.stream);
  network_.Upload(*exchange_, spans, queries, workspace.stream);
  workspace.staging.Copy(images, pixels, workspace.stream);
  if (captured()) {
    LaunchGraph(graph_, workspace.stream);
  } else {
    network_.Forward(workspace.arena, geometry_, pixels, *exchange_, workspace.stream);
  }
  return network_.Download(*exchange_, spans, queries, workspace.stream);
}

std::vector<Span> SpansOf(std::span<const ImageView> images) {
  std::vector<Span> spans;
  int64_t tokens = 0;
  for (const ImageView& image : images) {
    spans.push_back({.offset = tokens, .height = image.height, .width = image.width});
    tokens += spans.back().tokens();
  }
  return spans;
}

}  // namespace spatialmamba
