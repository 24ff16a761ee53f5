// What a network must keep for the engine's memory accesses and sizes to hold. The model file's rules
// (docs/reference/model-file.md) are as strict or stricter, so no network that the package reads is refused here.
#pragma once

#include "plan.hpp"

namespace firstspike {

constexpr int64_t max_extent = 1 << 16;   // height, width, kernel, stride, groups
constexpr int64_t max_outputs = 1 << 24;  // of a layer, of one image
constexpr int64_t max_padded = 1 << 25;   // values of a layer's input with its padding, of one image
constexpr int64_t max_field = 1 << 22;    // values of the input below one position of the kernel

// Each throws std::invalid_argument with the rule and the value.
void check(const Common& common);
void check(const char* subject, const Shape& shape);
void check(const Shape& in, const Shape& out, const Geometry& geometry);
void check(const Common& common, const SynapticSpec& spec);

}  // namespace firstspike
