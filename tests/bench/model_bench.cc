// The bare model on the CPU, to be timed by tests/bench/model.py, which runs it and its peer in
// turn.
//
//   model_bench WEIGHTS TASK VARIANT CLASSES PRECISION THREADS
//
// reads commands from standard input and answers each with one line:
//   input FILE COUNT HEIGHT WIDTH   float32 pixels [COUNT, HEIGHT, WIDTH, 3], normalised -> "ok"
//   run                             one forward of them, masks pasted -> seconds
//   answer                          of the last run, one image after the other: logits; label,
//                                   score and box of each object; the label of each pixel
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "model/ops/instruction_set.h"
#include "model/runtime/cpu_replica.h"
#include "model/runtime/pool_context.h"
#include "model/runtime/thread_pool.h"
#include "model/tasks/detect.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

struct Input {
  std::vector<float> pixels;
  std::vector<ImageView> views;
};

std::optional<VisionTask> TaskOf(const std::string& name) {
  if (name == "classification") return VisionTask::kClassify;
  if (name == "detection") return VisionTask::kDetect;
  if (name == "segmentation") return VisionTask::kSegment;
  return std::nullopt;
}

// The picture has the size of the network's input.
Query UsualQuery(VisionTask task, const PixelSize& size) {
  if (task == VisionTask::kDetect) return DetectQuery{.valid = size};
  if (task == VisionTask::kSegment) return SegmentQuery{.original = size};
  return ClassifyQuery{};
}

Input ReadInput(std::istream& arguments, VisionTask task) {
  std::string file;
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
  if (!(arguments >> file >> count >> height >> width))
    throw std::runtime_error("input FILE COUNT HEIGHT WIDTH");
  Input input;
  input.pixels.resize(static_cast<size_t>(count * height * width * 3));
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(input.pixels.data()),
              static_cast<std::streamsize>(input.pixels.size() * sizeof(float)));
  if (!stream) throw std::runtime_error(file + ": too short");
  for (int64_t i = 0; i < count; ++i) {
    input.views.push_back({input.pixels.data() + i * height * width * 3, height, width,
                           UsualQuery(task, {height, width})});
  }
  return input;
}

// What follows the network and is part of the peer's forward.
void PasteMasks(ThreadPool& pool, const Input& input, const std::vector<Prediction>& predictions) {
  PoolContext context(pool);
  for (size_t i = 0; i < predictions.size(); ++i) {
    const auto* found = std::get_if<DetectOutput>(&predictions[i]);
    if (found == nullptr) continue;
    const PixelSize size{input.views[i].height, input.views[i].width};
    ToObjects(context, *found, {size, size});
  }
}

void Print(const ClassifyOutput& output) {
  for (const float logit : output.logits) std::cout << logit << ' ';
}
void Print(const DetectOutput& output) {
  for (const Detection& found : output.detections) {
    std::cout << found.label << ' ' << found.score << ' ' << found.box.left << ' ' << found.box.top
              << ' ' << found.box.right << ' ' << found.box.bottom << ' ';
  }
}
void Print(const SegmentOutput& output) {
  for (const uint16_t label : output.labels) std::cout << label << ' ';
}

int Main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: %s WEIGHTS TASK VARIANT CLASSES fp32|bf16 THREADS\n", argv[0]);
    return 2;
  }
  const std::optional<VisionTask> task = TaskOf(argv[2]);
  const std::optional<Variant> variant = FindVariant(argv[3]);
  if (!task)
    throw std::runtime_error(std::string(argv[2]) +
                             " is no task: classification, detection, "
                             "segmentation");
  if (!variant)
    throw std::runtime_error(std::string(argv[3]) + " is no variant: tiny, small, base or micro");
  ThreadPool pool(std::atoi(argv[6]));
  ModelSpec spec{*task, *variant, std::atoll(argv[4])};
  if (argv[5] == std::string("bf16")) spec.matrices = MatrixType::kBfloat16;
  CpuReplica replica(spec, ReadCheckpoint(argv[1]), pool);
  std::cout << "ready " << Name(CurrentInstructionSet()) << std::endl;
  Input input;
  std::vector<Prediction> predictions;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "input") {
      input = ReadInput(words, *task);
      std::cout << "ok" << std::endl;
    } else if (command == "run") {
      const auto start = std::chrono::steady_clock::now();
      predictions = replica.Run(input.views);
      PasteMasks(pool, input, predictions);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      std::cout << taken.count() << std::endl;
    } else if (command == "answer") {
      for (const Prediction& prediction : predictions) {
        std::visit([](const auto& output) { Print(output); }, prediction);
      }
      std::cout << std::endl;
    } else {
      throw std::runtime_error("unknown command " + command);
    }
  }
  return 0;
}

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  try {
    return spatialmamba::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "model_bench: %s\n", error.what());
    return 1;
  }
}
