#pragma once

#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

// Non-maximum suppression in each list, of at most 1024 boxes: those that a better one overlaps by
// more than `overlap` leave it, and the others move up. Overlaps are taken as nms.h says, with
// groups shifted by group * (largest coordinate + 1). image_count: device memory, how many images
// there are; largest: [images, groups], of the boxes of a list. Throws std::invalid_argument if a
// list may be longer, std::runtime_error if CUDA refuses the launch.
void SuppressListsCuda(const DeviceBoxLists& lists, const int* image_count, const float* largest,
                       float overlap, CUstream_st* stream);

struct MergeParams {
  DeviceBoxLists lists;
  const int* image_count = nullptr;            // device memory
  const int* errors = nullptr;                 // [images]; an image with an error gets no boxes
  int limit = 0;                               // boxes of an image, at most
  const DeviceDetectQuery* queries = nullptr;  // not null: at most max_detections, too
  // Out: the best of all groups, best first.
  DeviceBox* boxes = nullptr;  // [images, limit]
  float* scores = nullptr;     // [images, limit], or null
  int* labels = nullptr;       // [images, limit]: the group, or null
  int* counts = nullptr;       // [images]
};

void MergeListsCuda(const MergeParams& params, CUstream_st* stream);

struct PackParams {
  const int* image_count = nullptr;            // device memory
  int images = 0;                              // its capacity
  int limit = 0;                               // room for boxes of an image
  const DeviceBox* boxes = nullptr;            // [images, limit]
  const int* labels = nullptr;                 // [images, limit], or null
  const int* counts = nullptr;                 // [images]
  const DeviceDetectQuery* queries = nullptr;  // not null: only of images that want masks
  DeviceRois rois;                             // out; its capacity is images * limit
  // Not null: the geometry of a piece whose boxes are images of side * side tokens,
  // [piece_capacity]; out.
  DeviceSpan* spans = nullptr;
  int side = 0;
};

void PackRoisCuda(const PackParams& params, CUstream_st* stream);

}  // namespace spatialmamba
