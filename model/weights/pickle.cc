#include "model/weights/pickle.h"

#include <bit>
#include <cstdio>
#include <string>
#include <unordered_map>

namespace spatialmamba {

// The stack machine of the pickle format, after the comments of Python's pickletools. Every opcode
// takes constant time for each item it touches, and the number of pushes is bounded.
class PickleMachine {
 public:
  explicit PickleMachine(ByteCursor& cursor) : in_(cursor) {}

  Pickle Run() {
    while (true) {
      const auto opcode = in_.Read<uint8_t>();
      if (opcode == '.') break;
      if (!Scalar(opcode) && !Text(opcode) && !Stack(opcode) && !Container(opcode) &&
          !Object(opcode)) {
        char text[8];
        std::snprintf(text, sizeof(text), "0x%02x", opcode);
        throw CheckpointError(std::string("holds a pickle with the opcode ") + text +
                              ", which is none of protocols 2 to 5");
      }
    }
    pickle_.root_ = Pop();
    return std::move(pickle_);
  }

 private:
  using Ref = Pickle::Ref;

  // Published checkpoints, optimiser and training log included, stay under a tenth of this.
  static constexpr int64_t kMostPushes = 4'000'000;

  [[noreturn]] static void Fail(const char* what) {
    throw CheckpointError(std::string("holds a damaged pickle: ") + what);
  }

  void Push(Ref ref) {
    if (++pushes_ > kMostPushes) {
      throw CheckpointError("holds a pickle of more than " + std::to_string(kMostPushes) +
                            " objects; save only the state dict");
    }
    stack_.push_back(ref);
  }

  void PushNew(Pickle::Value value) {
    Push(static_cast<Ref>(pickle_.values_.size()));
    pickle_.values_.push_back(std::move(value));
  }

  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Ref Top() const {
    if (stack_.size() <= Floor()) Fail("it takes from an empty stack");
    return stack_.back();
  }

  Ref Pop() {
    const Ref top = Top();
    stack_.pop_back();
    return top;
  }

  std::vector<Ref> PopToMark() {
    if (marks_.empty()) Fail("it takes up to a mark that is not there");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  std::string_view PopText() {
    const auto* text = pickle_.Get<std::string_view>(Pop());
    if (text == nullptr) Fail("a name is no text");
    return *text;
  }

  void PushTuple(size_t count) {
    std::vector<Ref> items(count);
    for (size_t i = count; i-- > 0;) items[i] = Pop();
    PushNew(Pickle::Sequence{std::move(items)});
  }

  void PushLong(uint64_t bytes) {
    const std::string_view digits = in_.Take(bytes);
    if (digits.size() > sizeof(int64_t)) return PushNew(Pickle::LongInteger{digits});
    const bool negative = !digits.empty() && (static_cast<uint8_t>(digits.back()) & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = (value << 8) | static_cast<uint8_t>(digits[i]);
    PushNew(std::bit_cast<int64_t>(value));
  }

  void Remember(uint32_t slot) { memo_[slot] = Top(); }

  void Recall(uint32_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) Fail("it recalls what it never stored");
    Push(found->second);
  }

  // Puts keys and values into the dict, or the object that stands for one, on top of the stack.
  void SetItems(const std::vector<Ref>& flat) {
    if (flat.size() % 2 != 0) Fail("a key has no value");
    Pickle::Value& target = pickle_.values_[Top()];
    auto* dict = std::get_if<Pickle::Dict>(&target);
    auto* record = std::get_if<Pickle::Record>(&target);
    if (dict == nullptr && record == nullptr) Fail("items are put into what is no dict");
    Pickle::Items& items = dict != nullptr ? dict->items : record->items;
    for (size_t i = 0; i < flat.size(); i += 2) items.emplace_back(flat[i], flat[i + 1]);
  }

  // Objects that are no plain lists (a deque, say) are not looked into, so theirs are dropped.
  void Append(const std::vector<Ref>& items) {
    if (auto* list = std::get_if<Pickle::Sequence>(&pickle_.values_[Top()])) {
      list->items.insert(list->items.end(), items.begin(), items.end());
    }
  }

  void PushRecord() {
    const Ref arguments = Pop();
    const Ref callable = Pop();
    PushNew(Pickle::Record{callable, arguments, {}});
  }

  bool Scalar(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        PushNew(Pickle::None{});
        return true;
      case 0x88:
        PushNew(true);
        return true;
      case 0x89:
        PushNew(false);
        return true;
      case 'K':
        PushNew(int64_t{in_.Read<uint8_t>()});
        return true;
      case 'M':
        PushNew(int64_t{in_.Read<uint16_t>()});
        return true;
      case 'J':
        PushNew(int64_t{in_.Read<int32_t>()});
        return true;
      case 0x8a:
        PushLong(in_.Read<uint8_t>());
        return true;
      case 0x8b:
        PushLong(in_.Read<uint32_t>());
        return true;
      case 'G':
        PushNew(std::bit_cast<double>(__builtin_bswap64(in_.Read<uint64_t>())));
        return true;
      default:
        return false;
    }
  }

  bool Text(uint8_t opcode) {
    switch (opcode) {
      case 0x8c:
      case 'U':
        PushNew(in_.Take(in_.Read<uint8_t>()));
        return true;
      case 'X':
      case 'T':
        PushNew(in_.Take(in_.Read<uint32_t>()));
        return true;
      case 0x8d:
        PushNew(in_.Take(in_.Read<uint64_t>()));
        return true;
      case 'C':
        PushNew(Pickle::Bytes{in_.Take(in_.Read<uint8_t>())});
        return true;
      case 'B':
        PushNew(Pickle::Bytes{in_.Take(in_.Read<uint32_t>())});
        return true;
      case 0x8e:
      case 0x96:
        PushNew(Pickle::Bytes{in_.Take(in_.Read<uint64_t>())});
        return true;
      default:
        return false;
    }
  }

  bool Stack(uint8_t opcode) {
    switch (opcode) {
      case 0x80:
        CheckProtocol();
        return true;
      case 0x95:
        in_.Read<uint64_t>();
        return true;  // a frame's length helps only a stream
      case '(':
        if (++pushes_ > kMostPushes) Fail("it sets too many marks");
        marks_.push_back(stack_.size());
        return true;
      case '0':
        Pop();
        return true;
      case '1':
        PopToMark();
        return true;
      case '2':
        Push(Top());
        return true;
      case 'q':
        Remember(in_.Read<uint8_t>());
        return true;
      case 'r':
        Remember(in_.Read<uint32_t>());
        return true;
      case 0x94:
        Remember(static_cast<uint32_t>(memo_.size()));
        return true;
      case 'h':
        Recall(in_.Read<uint8_t>());
        return true;
      case 'j':
        Recall(in_.Read<uint32_t>());
        return true;
      default:
        return false;
    }
  }

  bool Container(uint8_t opcode) {
    switch (opcode) {
      case '}':
        PushNew(Pickle::Dict{});
        return true;
      case ']':
      case ')':
      case 0x8f:
        PushNew(Pickle::Sequence{});
        return true;
      case 't':
      case 0x91:
        PushNew(Pickle::Sequence{PopToMark()});
        return true;
      case 0x85:
        PushTuple(1);
        return true;
      case 0x86:
        PushTuple(2);
        return true;
      case 0x87:
        PushTuple(3);
        return true;
      case 'a':
        Append({Pop()});
        return true;
      case 'e':
      case 0x90:
        Append(PopToMark());
        return true;
      case 'u':
        SetItems(PopToMark());
        return true;
      case 's': {
        const Ref value = Pop();
        const Ref key = Pop();
        SetItems({key, value});
        return true;
      }
      default:
        return false;
    }
  }

  bool Object(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        const std::string_view module = in_.TakeLine();
        PushNew(Pickle::Global{module, in_.TakeLine()});
        return true;
      }
      case 0x93: {
        const std::string_view name = PopText();
        PushNew(Pickle::Global{PopText(), name});
        return true;
      }
      case 'Q':
        PushNew(Pickle::Persistent{Pop()});
        return true;
      case 0x92:
        Pop();
        [[fallthrough]];  // NEWOBJ_EX has keyword arguments on top
      case 'R':
      case 0x81:
        PushRecord();
        return true;
      case 'b':  // BUILD gives an object a state, which no tensor needs
        Pop();
        Top();
        return true;
      default:
        return false;
    }
  }

  void CheckProtocol() {
    const int protocol = in_.Read<uint8_t>();
    if (protocol < 2 || protocol > 5) {
      throw CheckpointError("holds a pickle of protocol " + std::to_string(protocol) +
                            "; save it again with protocol 2");
    }
  }

  ByteCursor& in_;
  Pickle pickle_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Ref> memo_;
  int64_t pushes_ = 0;
};

Pickle Pickle::Read(ByteCursor& cursor) { return PickleMachine(cursor).Run(); }

}  // namespace spatialmamba
