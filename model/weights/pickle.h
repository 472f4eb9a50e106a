#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/weights/byte_cursor.h"

namespace spatialmamba {

// What a pickle describes, read without doing anything it says: a class or function is only its
// name, and a call of one only a record of it. Values lie in one list and refer to each other by
// index, so a pickle that nests deeply, shares parts a million times or contains itself costs no
// more than its own length. Texts point into the file, which must outlive this.
class Pickle {
 public:
  using Ref = uint32_t;
  using Items = std::vector<std::pair<Ref, Ref>>;

  struct None {};
  struct Bytes {
    std::string_view content;
  };
  struct LongInteger {  // beyond 64 bits
    std::string_view digits;
  };
  struct Global {
    std::string_view module;
    std::string_view name;
  };
  struct Sequence {  // list, tuple or set
    std::vector<Ref> items;
  };
  struct Dict {
    Items items;
  };
  struct Persistent {  // something outside of the pickle, such as a storage
    Ref id;
  };
  // A call that was not made, REDUCE or NEWOBJ, and the items that were put into its result.
  struct Record {
    Ref callable;
    Ref arguments;
    Items items;
  };
  using Value = std::variant<None, bool, int64_t, double, std::string_view, Bytes, LongInteger,
                             Global, Sequence, Dict, Persistent, Record>;

  // Reads protocols 2 to 5 up to the STOP. Throws CheckpointError.
  static Pickle Read(ByteCursor& cursor);

  Ref root() const { return root_; }
  const Value& at(Ref ref) const { return values_[ref]; }
  const std::deque<Value>& values() const { return values_; }

  // The value if it is a T, else null.
  template <typename T>
  const T* Get(Ref ref) const {
    return std::get_if<T>(&values_[ref]);
  }

 private:
  std::deque<Value> values_;
  Ref root_ = 0;
};

}  // namespace spatialmamba
