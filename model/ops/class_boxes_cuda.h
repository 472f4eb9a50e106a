#pragma once

#include "model/ops/device_boxes.h"

struct CUstream_st;

namespace spatialmamba {

// From the outputs of a box head to the detections of each class: what box_head.cc selects.
struct ClassBoxParams {
  // Proposals of all images, each of at most rois.capacity / images, at most 1024.
  DeviceRois rois;
  const int* image_count = nullptr;  // device memory
  int images = 0;                    // its capacity
  const int* roi_counts = nullptr;   // [images]
  // [rois.capacity, 5 * classes + 1], fp32, rows aligned to 16 bytes: four deltas for each class,
  // then the logits of the classes and of the background.
  DeviceMap predictions;
  int classes = 0;
  const DeviceDetectQuery* queries = nullptr;  // [images]
  // [images, (classes + 31) / 32]: which classes are asked for, class c in bit c % 32 of word c
  // / 32.
  const unsigned* wanted = nullptr;
  // Workspace: [images, classes, rois.capacity / images], a class's score of each proposal, -1
  // where it is none or not above the threshold.
  float* scores = nullptr;
  // [images], zero before: bits of the largest coordinate of what scores above it.
  int* largest = nullptr;
  int* errors = nullptr;  // [images], raised to a DeviceDetectError
  // Out: the survivors of each class; groups: classes; at most max_detections of the query, and at
  // most the capacity.
  DeviceBoxLists lists;
};

// Throws std::invalid_argument if sizes do not fit, std::runtime_error if CUDA refuses a launch.
void SelectClassBoxesCuda(const ClassBoxParams& params, CUstream_st* stream);

}  // namespace spatialmamba
