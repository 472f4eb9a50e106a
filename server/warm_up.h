#pragma once

#include "batching/clock.h"
#include "model/tasks/preprocess.h"
#include "server/model_table.h"

namespace spatialmamba {

// What the first forward passes of a model showed: device time of a batch as a straight line over
// the pixels of its input.
struct Profile {
  Duration fixed = Duration::zero();
  double seconds_per_pixel = 0;
  Duration taken = Duration::zero();  // by the warm-up
};

// The size of the network's input for a picture of usual size.
NetworkInputSize UsualInput(const PreprocessOptions& options);

// Runs the model on grey pictures of its usual input size, alone and in batches: memory is touched,
// caches are filled, times are taken. Not while the replica serves. Throws what the replica throws.
Profile WarmUp(const ServedModel& model, Replica& replica);

}  // namespace spatialmamba
