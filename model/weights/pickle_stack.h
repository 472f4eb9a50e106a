#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/weights/pickle.h"

namespace spatialmamba {

// Stack, marks and memo of the pickle machine, and the list of values that it makes. Throws
// CheckpointError where a pickle takes what is not there, and when it makes too many objects.
class PickleStack {
 public:
  using Ref = Pickle::Ref;

  void Push(Ref ref);
  void PushNew(Pickle::Value value);
  void PushTuple(size_t count);  // of the topmost values
  void PushRecord();             // of a call, whose callable and arguments are on top

  Ref Top() const;
  Ref Pop();
  std::string_view PopText();

  void Mark();
  std::vector<Ref> PopToMark();

  void Remember(uint32_t slot) { memo_[slot] = Top(); }
  void RememberNext() { Remember(static_cast<uint32_t>(memo_.size())); }
  void Recall(uint32_t slot);

  // Puts keys and values, in turns, into the dict, or the object that stands for one, on top.
  void SetItems(const std::vector<Ref>& flat);
  // Objects that are no plain lists (a deque, say) are not looked into, so theirs are dropped.
  void Append(const std::vector<Ref>& items);

  std::deque<Pickle::Value> TakeValues() { return std::move(values_); }

 private:
  void CountPush();

  std::deque<Pickle::Value> values_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Ref> memo_;
  int64_t pushes_ = 0;
};

}  // namespace spatialmamba
