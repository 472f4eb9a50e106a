#include "model/weights/pickle_stack.h"

#include <string>
#include <utility>

namespace spatialmamba {
namespace {

// Published checkpoints, optimiser and training log included, stay under a tenth of this.
constexpr int64_t kMostPushes = 4'000'000;

[[noreturn]] void Fail(const char* what) {
  throw CheckpointError(std::string("holds a damaged pickle: ") + what);
}

}  // namespace

void PickleStack::CountPush() {
  if (++pushes_ > kMostPushes) {
    throw CheckpointError("holds a pickle of more than " + std::to_string(kMostPushes) +
                          " objects; save only the state dict");
  }
}

void PickleStack::Push(Ref ref) {
  CountPush();
  stack_.push_back(ref);
}

void PickleStack::PushNew(Pickle::Value value) {
  Push(static_cast<Ref>(values_.size()));
  values_.push_back(std::move(value));
}

void PickleStack::PushTuple(size_t count) {
  std::vector<Ref> items(count);
  for (size_t i = count; i-- > 0;) items[i] = Pop();
  PushNew(Pickle::Sequence{std::move(items)});
}

void PickleStack::PushRecord() {
  const Ref arguments = Pop();
  const Ref callable = Pop();
  PushNew(Pickle::Record{callable, arguments, {}});
}

PickleStack::Ref PickleStack::Top() const {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) Fail("it takes from an empty stack");
  return stack_.back();
}

PickleStack::Ref PickleStack::Pop() {
  const Ref top = Top();
  stack_.pop_back();
  return top;
}

std::string_view PickleStack::PopText() {
  const auto* text = std::get_if<std::string_view>(&values_[Pop()]);
  if (text == nullptr) Fail("a name is no text");
  return *text;
}

void PickleStack::Mark() {
  CountPush();
  marks_.push_back(stack_.size());
}

std::vector<PickleStack::Ref> PickleStack::PopToMark() {
  if (marks_.empty()) Fail("it takes up to a mark that is not there");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Ref> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

void PickleStack::Recall(uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) Fail("it recalls what it never stored");
  Push(found->second);
}

void PickleStack::SetItems(const std::vector<Ref>& flat) {
  if (flat.size() % 2 != 0) Fail("a key has no value");
  Pickle::Value& target = values_[Top()];
  auto* dict = std::get_if<Pickle::Dict>(&target);
  auto* record = std::get_if<Pickle::Record>(&target);
  if (dict == nullptr && record == nullptr) Fail("items are put into what is no dict");
  Pickle::Items& items = dict != nullptr ? dict->items : record->items;
  for (size_t i = 0; i < flat.size(); i += 2) items.emplace_back(flat[i], flat[i + 1]);
}

void PickleStack::Append(const std::vector<Ref>& items) {
  if (auto* list = std::get_if<Pickle::Sequence>(&values_[Top()])) {
    list->items.insert(list->items.end(), items.begin(), items.end());
  }
}

}  // namespace spatialmamba
