#include "model/net/model_spec.h"

namespace spatialmamba {
namespace {

struct NamedVariant {
  std::string_view name;
  Variant variant;
};

constexpr NamedVariant kVariants[] = {
    {"tiny", {64, {2, 4, 8, 4}}},
    {"small", {64, {2, 4, 21, 5}}},
    {"base", {96, {2, 4, 21, 5}}},
    {"micro", {16, {1, 1, 2, 1}}},
};

}  // namespace

std::optional<Variant> FindVariant(std::string_view name) {
  for (const NamedVariant& entry : kVariants) {
    if (entry.name == name) return entry.variant;
  }
  return std::nullopt;
}

std::string_view VariantName(const Variant& variant) {
  for (const NamedVariant& entry : kVariants) {
    if (entry.variant == variant) return entry.name;
  }
  return "custom";
}

}  // namespace spatialmamba
