#include "model/weights/inspect.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "model/weights/quoted.h"
#include "model/weights/weight_file.h"

namespace spatialmamba {
namespace {

// Names are printed bare where that is safe.
std::string Plain(const std::string& name) {
  const std::string quoted = Quoted(name);
  return quoted.size() == name.size() + 2 ? name : quoted;
}

std::string Megabytes(int64_t bytes) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(2) << static_cast<double>(bytes) / 1e6 << " MB";
  return text.str();
}

void PrintTensors(const std::map<std::string, Tensor>& tensors, std::ostream& out) {
  size_t width = 4;
  for (const auto& [name, tensor] : tensors) width = std::max(width, Plain(name).size());
  int64_t elements = 0;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    out << "  " << std::left << std::setw(static_cast<int>(width)) << Plain(name) << "  "
        << std::setw(8) << Name(tensor.dtype) << "  " << FormatShape(tensor.shape) << '\n';
    elements += tensor.elements();
    bytes += tensor.elements() * SizeOf(tensor.dtype);
  }
  out << "total:       " << tensors.size() << " tensors, " << elements << " elements, "
      << Megabytes(bytes) << '\n';
}

void PrintFile(const std::filesystem::path& file, const std::string& key, std::ostream& out) {
  const FileBytes bytes = ReadFile(file);
  const std::unique_ptr<WeightFile> weights = OpenWeightFile(bytes);
  out << "file:        " << file.string() << '\n'
      << "kind:        " << weights->kind() << '\n'
      << "size:        " << Megabytes(static_cast<int64_t>(bytes->size())) << '\n'
      << "sha256:      " << Sha256(*bytes) << '\n'
      << "state dicts:";
  for (const std::string& name : weights->state_dicts()) {
    out << ' ' << (name.empty() ? "(top level)" : Plain(name));
  }
  out << '\n';
  for (const auto& [name, value] : weights->metadata()) {
    out << "metadata:    " << Plain(name) << " = " << Plain(value) << '\n';
  }
  const std::string chosen = ChooseStateDict(*weights, key);
  out << "tensors of " << (chosen.empty() ? "the top level" : Plain(chosen)) << ":\n";
  PrintTensors(weights->Read(chosen), out);
}

}  // namespace

void Inspect(const std::filesystem::path& file, const std::string& key, std::ostream& out) {
  try {
    PrintFile(file, key, out);
  } catch (const CheckpointError& error) {
    throw CheckpointError("weight file " + file.string() + " " + error.what());
  }
}

}  // namespace spatialmamba
