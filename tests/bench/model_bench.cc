// The bare model on the CPU, to be timed by tests/bench/model.py, which runs it and its peer in
// turn.
//
//   model_bench WEIGHTS VARIANT CLASSES THREADS
//
// reads commands from standard input and answers each with one line:
//   input FILE COUNT HEIGHT WIDTH   float32 pixels [COUNT, HEIGHT, WIDTH, 3], normalised -> "ok"
//   run                             one forward of them -> seconds
//   logits                          of the last run, one image after the other
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "model/ops/instruction_set.h"
#include "model/runtime/replica.h"
#include "model/runtime/thread_pool.h"
#include "model/weights/checkpoint.h"

namespace spatialmamba {
namespace {

struct Input {
  std::vector<float> pixels;
  std::vector<ImageView> views;
};

Input ReadInput(std::istream& arguments) {
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
    input.views.push_back({input.pixels.data() + i * height * width * 3, height, width});
  }
  return input;
}

int Main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s WEIGHTS VARIANT CLASSES THREADS\n", argv[0]);
    return 2;
  }
  const std::optional<Variant> variant = FindVariant(argv[2]);
  if (!variant)
    throw std::runtime_error(std::string(argv[2]) + " is no variant: tiny, small, base or micro");
  ThreadPool pool(std::atoi(argv[4]));
  Replica replica({VisionTask::kClassify, *variant, std::atoll(argv[3])}, ReadCheckpoint(argv[1]),
                  pool);
  std::cout << "ready " << Name(CurrentInstructionSet()) << std::endl;
  Input input;
  std::vector<Prediction> predictions;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "input") {
      input = ReadInput(words);
      std::cout << "ok" << std::endl;
    } else if (command == "run") {
      const auto start = std::chrono::steady_clock::now();
      predictions = replica.Run(input.views);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      std::cout << taken.count() << std::endl;
    } else if (command == "logits") {
      for (const Prediction& prediction : predictions) {
        for (const float logit : std::get<ClassifyOutput>(prediction).logits)
          std::cout << logit << ' ';
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
