#include "model/weights/binder.h"

#include <algorithm>
#include <set>

#include "model/weights/quoted.h"

namespace spatialmamba {
namespace {

constexpr size_t kMostListed = 20;

struct Differences {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  std::vector<std::string> misshapen;  // with both shapes

  bool empty() const { return missing.empty() && unexpected.empty() && misshapen.empty(); }
};

bool IsIgnored(const std::string& key, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&key](const std::string& prefix) { return key.starts_with(prefix); });
}

Differences Compare(const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint,
                    const std::vector<std::string>& ignored_prefixes) {
  Differences differences;
  std::set<std::string> known;
  for (const ExpectedTensor& wanted : expected) {
    known.insert(wanted.key);
    const auto found = checkpoint.tensors.find(wanted.key);
    if (found == checkpoint.tensors.end()) {
      if (!wanted.optional) {
        differences.missing.push_back(wanted.key + " " + FormatShape(wanted.shape));
      }
    } else if (found->second.shape != wanted.shape) {
      differences.misshapen.push_back(wanted.key + " is " + FormatShape(found->second.shape) +
                                      ", must be " + FormatShape(wanted.shape));
    }
  }
  for (const auto& [key, tensor] : checkpoint.tensors) {
    if (!known.contains(key) && !IsIgnored(key, ignored_prefixes)) {
      differences.unexpected.push_back(Quoted(key) + " " + FormatShape(tensor.shape));
    }
  }
  return differences;
}

void Append(std::string& text, const char* kind, const std::vector<std::string>& items) {
  if (items.empty()) return;
  text += "; " + std::to_string(items.size()) + " " + kind + ": ";
  for (size_t i = 0; i < items.size() && i < kMostListed; ++i) {
    text += (i > 0 ? ", " : "") + items[i];
  }
  if (items.size() > kMostListed) {
    text += " and " + std::to_string(items.size() - kMostListed) + " more";
  }
}

// How many of the expected keys the file would have if `add` stood before each, or if `drop` were
// taken off where it stands.
int64_t Matches(const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint,
                const std::string& add, const std::string& drop) {
  return std::count_if(expected.begin(), expected.end(), [&](const ExpectedTensor& wanted) {
    if (!wanted.key.starts_with(drop)) return false;
    return checkpoint.tensors.contains(add + wanted.key.substr(drop.size()));
  });
}

std::string PrefixHint(const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint) {
  const auto half = static_cast<int64_t>(expected.size() / 2);
  if (Matches(expected, checkpoint, "backbone.", "") > half) {
    return "the file has keys with the prefix \"backbone.\": is it a detection or segmentation "
           "checkpoint?";
  }
  for (const char* prefix : {"module.", "model.", "_orig_mod.", "ema."}) {
    if (Matches(expected, checkpoint, prefix, "") > half) {
      return std::string("the file has keys with the prefix \"") + prefix +
             "\", which a wrapper of the training put there: save the state dict of the model "
             "inside";
    }
  }
  const auto in_backbone = std::count_if(
      expected.begin(), expected.end(),
      [](const ExpectedTensor& wanted) { return wanted.key.starts_with("backbone."); });
  if (in_backbone > 0 && Matches(expected, checkpoint, "", "backbone.") > in_backbone / 2) {
    return "the file has the keys of a backbone without the prefix \"backbone.\": is it a "
           "classification checkpoint?";
  }
  return "";
}

std::string Hint(const std::vector<ExpectedTensor>& expected, const Checkpoint& checkpoint,
                 const Differences& differences) {
  const std::string prefix = PrefixHint(expected, checkpoint);
  if (!prefix.empty()) return prefix;
  if (differences.missing.size() * 2 > expected.size() && !checkpoint.other_keys.empty()) {
    std::string text = "the file has other state dicts too (";
    for (size_t i = 0; i < checkpoint.other_keys.size() && i < kMostListed; ++i) {
      const std::string& key = checkpoint.other_keys[i];
      text += (i > 0 ? ", " : "") + (key.empty() ? "the top level" : Quoted(key));
    }
    return text + "): is one of them meant?";
  }
  if (differences.missing.empty() && differences.unexpected.empty() &&
      differences.misshapen.size() <= 4) {
    return "only few shapes differ: is the number of classes right?";
  }
  return "is it another variant or another task?";
}

}  // namespace

std::map<std::string, std::vector<float>> Bind(const std::vector<ExpectedTensor>& expected,
                                               const Checkpoint& checkpoint,
                                               const std::vector<std::string>& ignored_prefixes) {
  const Differences differences = Compare(expected, checkpoint, ignored_prefixes);
  if (!differences.empty()) {
    std::string text = "the weights do not fit the model";
    if (!checkpoint.file.empty()) text = "weight file " + checkpoint.file + ": " + text;
    if (!checkpoint.key.empty()) text += " (state dict " + Quoted(checkpoint.key) + ")";
    Append(text, "missing", differences.missing);
    Append(text, "unexpected", differences.unexpected);
    Append(text, "of another shape", differences.misshapen);
    throw CheckpointError(text + ". Hint: " + Hint(expected, checkpoint, differences));
  }
  std::map<std::string, std::vector<float>> bound;
  for (const ExpectedTensor& wanted : expected) {
    const auto found = checkpoint.tensors.find(wanted.key);
    if (found != checkpoint.tensors.end()) bound[wanted.key] = found->second.ToFloat();
  }
  return bound;
}

}  // namespace spatialmamba
