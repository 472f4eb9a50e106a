#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

// synthetic.py in C++: weights and pictures as pure functions of a seed and a name.
namespace spatialmamba::oracle {

uint64_t Fnv1a64(std::span<const uint8_t> bytes);

// `count` values in [-1, 1).
std::vector<double> Unit(int64_t seed, std::string_view key, int64_t count);

// A parameter under its published key, row-major.
std::vector<float> Tensor(int64_t seed, std::string_view key, std::span<const int64_t> shape);

// An RGB picture, [height, width, 3].
std::vector<uint8_t> Image(int64_t seed, int64_t height, int64_t width);

}  // namespace spatialmamba::oracle
