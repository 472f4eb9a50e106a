#pragma once

#include <cstdint>

#include "model/ops/device_batch.h"

// Boxes of a detector in device memory. C++17: kernels include this.

namespace spatialmamba {

// A Box (box.h) that is read and written in one access.
struct alignas(16) DeviceBox {
  float left;
  float top;
  float right;
  float bottom;
};

// What one image asks of a detector.
struct DeviceDetectQuery {
  float height;  // where boxes are clipped
  float width;
  float score_threshold;
  // A box goes if it overlaps a better one more than this: the largest float that is not above the
  // threshold asked for, above which the same floats lie as above the threshold itself.
  float overlap;
  int max_detections;
  int masks;  // whether they are wanted
};

// Why an image has no answer; what is largest is told.
enum DeviceDetectError { kDetectFine, kBadBoxOutput, kBadProposalBox, kBadProposalScore };

// Boxes of each image and group (a level of the pyramid, a class), best first. List image * groups
// + group has room for `capacity` boxes.
struct DeviceBoxLists {
  int images = 0;
  int groups = 0;
  int capacity = 0;
  // [lists, capacity], rising. The high half is the complement of the score's bits (scores are not
  // negative); the low half tells equal scores apart and is unique in an image.
  uint64_t* keys = nullptr;
  DeviceBox* boxes = nullptr;  // [lists, capacity]
  int* counts = nullptr;       // [lists]
};

// Boxes of all images back to back, cut into pieces that are worked on one after the other.
struct DeviceRois {
  int capacity = 0;        // boxes
  int piece_capacity = 0;  // boxes of a piece
  DeviceBox* boxes = nullptr;
  int* images = nullptr;
  int* labels = nullptr;        // null: without
  int* first = nullptr;         // by image, its first box
  int* piece_counts = nullptr;  // [pieces, kDeviceCounts]: boxes, tokens, 0

  int pieces() const { return (capacity + piece_capacity - 1) / piece_capacity; }
  const int* counts_of(int piece) const { return piece_counts + piece * kDeviceCounts; }
};

}  // namespace spatialmamba
