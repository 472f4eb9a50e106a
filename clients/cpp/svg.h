#pragma once

#include <string>

#include "spatialmamba/v1/vision.pb.h"

namespace spatialmamba {

// Answers drawn on the picture that was sent, as SVG files, which any browser shows: the picture
// itself is inside (browsers show no TIFF), what is drawn stays sharp at any size. Throw
// std::runtime_error if a mask cannot be read.

// A panel below the picture with a bar for each class.
std::string DrawClasses(const std::string& picture, const v1::Classification& result);
// Boxes, names, scores and see-through masks, the best on top.
std::string DrawObjects(const std::string& picture, const v1::Detection& result);
// The picture tinted by class, above a legend of the classes that occur, the largest first.
std::string DrawLabels(const std::string& picture, const v1::Segmentation& result);

}  // namespace spatialmamba
