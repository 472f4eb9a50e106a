#include "model/weights/pickle.h"

#include <bit>
#include <cstdio>
#include <string>

#include "model/weights/pickle_stack.h"

namespace spatialmamba {
namespace {

// The opcodes of protocols 2 to 5, after the comments of Python's pickletools. Each takes constant
// time for every item it touches. Each function below returns whether it knows the opcode.
class Machine {
 public:
  explicit Machine(ByteCursor& cursor) : in_(cursor) {}

  void Run() {
    while (true) {
      const auto opcode = in_.Read<uint8_t>();
      if (opcode == '.') return;
      if (!Number(opcode) && !Text(opcode) && !Stack(opcode) && !Memo(opcode) && !Make(opcode) &&
          !Fill(opcode) && !Object(opcode)) {
        char text[8];
        std::snprintf(text, sizeof(text), "0x%02x", opcode);
        throw CheckpointError(std::string("holds a pickle with the opcode ") + text +
                              ", which is none of protocols 2 to 5");
      }
    }
  }

  PickleStack& stack() { return stack_; }

 private:
  bool Number(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        stack_.PushNew(Pickle::None{});
        return true;
      case 0x88:
        stack_.PushNew(true);
        return true;
      case 0x89:
        stack_.PushNew(false);
        return true;
      case 'K':
        stack_.PushNew(int64_t{in_.Read<uint8_t>()});
        return true;
      case 'M':
        stack_.PushNew(int64_t{in_.Read<uint16_t>()});
        return true;
      case 'J':
        stack_.PushNew(int64_t{in_.Read<int32_t>()});
        return true;
      case 0x8a:
        PushLong(in_.Read<uint8_t>());
        return true;
      case 0x8b:
        PushLong(in_.Read<uint32_t>());
        return true;
      case 'G':
        PushDouble();
        return true;
      default:
        return false;
    }
  }

  bool Text(uint8_t opcode) {
    switch (opcode) {
      case 0x8c:
      case 'U':
        stack_.PushNew(in_.Take(in_.Read<uint8_t>()));
        return true;
      case 'X':
      case 'T':
        stack_.PushNew(in_.Take(in_.Read<uint32_t>()));
        return true;
      case 0x8d:
        stack_.PushNew(in_.Take(in_.Read<uint64_t>()));
        return true;
      case 'C':
        stack_.PushNew(Pickle::Bytes{in_.Take(in_.Read<uint8_t>())});
        return true;
      case 'B':
        stack_.PushNew(Pickle::Bytes{in_.Take(in_.Read<uint32_t>())});
        return true;
      case 0x8e:
      case 0x96:
        stack_.PushNew(Pickle::Bytes{in_.Take(in_.Read<uint64_t>())});
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
        in_.Take(8);
        return true;  // the length of a frame, which helps only a stream
      case '(':
        stack_.Mark();
        return true;
      case '0':
        stack_.Pop();
        return true;
      case '1':
        stack_.PopToMark();
        return true;
      case '2':
        stack_.Push(stack_.Top());
        return true;
      default:
        return false;
    }
  }

  bool Memo(uint8_t opcode) {
    switch (opcode) {
      case 'q':
        stack_.Remember(in_.Read<uint8_t>());
        return true;
      case 'r':
        stack_.Remember(in_.Read<uint32_t>());
        return true;
      case 0x94:
        stack_.RememberNext();
        return true;
      case 'h':
        stack_.Recall(in_.Read<uint8_t>());
        return true;
      case 'j':
        stack_.Recall(in_.Read<uint32_t>());
        return true;
      default:
        return false;
    }
  }

  bool Make(uint8_t opcode) {
    switch (opcode) {
      case '}':
        stack_.PushNew(Pickle::Dict{});
        return true;
      case ']':
      case ')':
      case 0x8f:
        stack_.PushNew(Pickle::Sequence{});
        return true;
      case 't':
      case 0x91:
        stack_.PushNew(Pickle::Sequence{stack_.PopToMark()});
        return true;
      case 0x85:
        stack_.PushTuple(1);
        return true;
      case 0x86:
        stack_.PushTuple(2);
        return true;
      case 0x87:
        stack_.PushTuple(3);
        return true;
      default:
        return false;
    }
  }

  bool Fill(uint8_t opcode) {
    switch (opcode) {
      case 'a':
        stack_.Append({stack_.Pop()});
        return true;
      case 'e':
      case 0x90:
        stack_.Append(stack_.PopToMark());
        return true;
      case 'u':
        stack_.SetItems(stack_.PopToMark());
        return true;
      case 's':
        SetItem();
        return true;
      default:
        return false;
    }
  }

  bool Object(uint8_t opcode) {
    switch (opcode) {
      case 'c':
        PushGlobalOfLines();
        return true;
      case 0x93:
        PushGlobalOfTexts();
        return true;
      case 'Q':
        stack_.PushNew(Pickle::Persistent{stack_.Pop()});
        return true;
      case 0x92:
        stack_.Pop();
        [[fallthrough]];  // the keyword arguments
      case 'R':
      case 0x81:
        stack_.PushRecord();
        return true;
      case 'b':
        stack_.Pop();
        stack_.Top();
        return true;  // an object's state, which no tensor needs
      default:
        return false;
    }
  }

  void PushDouble() {
    stack_.PushNew(std::bit_cast<double>(__builtin_bswap64(in_.Read<uint64_t>())));
  }

  void PushLong(uint64_t bytes) {
    const std::string_view digits = in_.Take(bytes);
    if (digits.size() > sizeof(int64_t)) return stack_.PushNew(Pickle::LongInteger{digits});
    const bool negative = !digits.empty() && (static_cast<uint8_t>(digits.back()) & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = (value << 8) | static_cast<uint8_t>(digits[i]);
    stack_.PushNew(std::bit_cast<int64_t>(value));
  }

  void PushGlobalOfLines() {
    const std::string_view module = in_.TakeLine();
    stack_.PushNew(Pickle::Global{module, in_.TakeLine()});
  }

  void PushGlobalOfTexts() {
    const std::string_view name = stack_.PopText();
    stack_.PushNew(Pickle::Global{stack_.PopText(), name});
  }

  void SetItem() {
    const Pickle::Ref value = stack_.Pop();
    const Pickle::Ref key = stack_.Pop();
    stack_.SetItems({key, value});
  }

  void CheckProtocol() {
    const int protocol = in_.Read<uint8_t>();
    if (protocol < 2 || protocol > 5) {
      throw CheckpointError("holds a pickle of protocol " + std::to_string(protocol) +
                            "; save it again with protocol 2");
    }
  }

  ByteCursor& in_;
  PickleStack stack_;
};

}  // namespace

Pickle Pickle::Read(ByteCursor& cursor) {
  Machine machine(cursor);
  machine.Run();
  Pickle pickle;
  pickle.root_ = machine.stack().Pop();
  pickle.values_ = machine.stack().TakeValues();
  return pickle;
}

}  // namespace spatialmamba
