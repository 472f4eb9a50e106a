#include "batching/task.h"

namespace spatialmamba {

const char* Name(CloseCause cause) {
  switch (cause) {
    case CloseCause::kFull:
      return "full";
    case CloseCause::kIdle:
      return "idle";
    case CloseCause::kDeadline:
      return "deadline";
    case CloseCause::kDrain:
      return "drain";
  }
  return "";
}

}  // namespace spatialmamba
