#pragma once

#include <cstdint>

#include "model/ops/device_batch.h"

struct CUstream_st;

namespace spatialmamba {

// class_confidence.h on a GPU: the softmax probability of each token's best class as a byte,
// 255 = certain; and whether the logits are numbers at all.
//
// logits: fp32 [tokens of level, classes]; confidence: [tokens]; not_finite: [images], set to 1 for
// an image with a NaN or an infinity among its logits and otherwise left as it is. Throws
// std::invalid_argument if maps do not fit.
void ClassConfidenceCuda(const DeviceMap& logits, const DeviceLevel& level, uint8_t* confidence,
                         int* not_finite, CUstream_st* stream);

}  // namespace spatialmamba
