#include "check.hpp"

#include <stdexcept>
#include <string>

namespace firstspike {
namespace {

[[noreturn]] void refuse(const std::string& rule, int64_t value) {
    throw std::invalid_argument(rule + ", not " + std::to_string(value));
}

void range(const std::string& subject, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
        refuse(subject + " must be in " + std::to_string(low) + ".." + std::to_string(high), value);
}

void equal(const std::string& subject, int64_t value, int64_t expected) {
    if (value != expected) refuse(subject + " must be " + std::to_string(expected), value);
}

struct Axis {
    int64_t in, out, kernel, stride, padding, dilation;

    int64_t padded() const { return in + 2 * padding; }
    int64_t reach() const { return (kernel - 1) * dilation + 1; }
};

void check(const Axis& axis) {
    range("kernel", axis.kernel, 1, max_extent);
    range("stride", axis.stride, 1, max_extent);
    range("dilation", axis.dilation, 1, max_extent);
    range("kernel with its gaps", axis.reach(), 1, max_extent);
    range("padding", axis.padding, 0, axis.reach() - 1);
    if (axis.reach() > axis.padded()) refuse("kernel must fit its padded input", axis.reach());
    equal("windows", axis.out, (axis.padded() - axis.reach()) / axis.stride + 1);
}

}  // namespace

void check(const Common& common) {
    range("T", common.T, 1, 255);
    range("weight_bits", common.weight_bits, 2, 8);
    range("accumulator_bits", common.accumulator_bits, 8, 48);
}

void check(const char* subject, const Shape& shape) {
    range(std::string(subject) + ": channels", shape.channels, 1, max_outputs);
    range(std::string(subject) + ": height", shape.height, 1, max_extent);
    range(std::string(subject) + ": width", shape.width, 1, max_extent);
    // below 2^24 * 2^32: no overflow
    range(std::string(subject) + ": size", shape.size(), 1, max_outputs);
}

void check(const Shape& in, const Shape& out, const Geometry& g) {
    check("in_shape", in);
    check("out_shape", out);
    const Axis down{in.height, out.height, g.kernel_h, g.stride_h, g.pad_h, g.dilation_h};
    const Axis across{in.width, out.width, g.kernel_w, g.stride_w, g.pad_w, g.dilation_w};
    check(down);
    check(across);
    range("size of the padded input", down.padded() * across.padded() * in.channels, 1, max_padded);
}

void check(const Common& common, const SynapticSpec& spec) {
    const Geometry& g = spec.geometry;
    check(spec.in, spec.out, g);
    range("groups", spec.groups, 1, max_extent);
    if (spec.in.channels % spec.groups != 0 || spec.out.channels % spec.groups != 0)
        refuse("groups must divide the channels", spec.groups);
    const int64_t field = int64_t(spec.in.channels) * g.kernel_h * g.kernel_w;
    range("inputs below the kernel", field, 1, max_field);
    const int64_t codes = field / spec.groups * spec.out.channels;
    equal("bytes of stream", spec.stream_bytes, (codes * common.weight_bits + 7) / 8);
    equal("entries of bias", static_cast<int64_t>(spec.bias.size()), spec.out.channels);
    equal("entries of weights", static_cast<int64_t>(spec.weights.size()), int64_t(1) << common.weight_bits);
    const int zero = (1 << (common.weight_bits - 1)) - 1;  // the code that fills panels up
    equal("weight of code " + std::to_string(zero), spec.weights[zero], 0);
    equal("entries of thresholds", static_cast<int64_t>(spec.thresholds.size()), spec.fires ? common.T : 0);
    if (!spec.shifts.empty()) equal("entries of shifts", static_cast<int64_t>(spec.shifts.size()), spec.fires ? spec.out.channels : 0);
    for (int64_t shift : spec.shifts) range("shifts", shift, 0, 7);
    equal("entries of identity", static_cast<int64_t>(spec.identity.size()), 256);
    range("silence", spec.silence, 1, 255);
    equal("entries of spike_values", static_cast<int64_t>(spec.spike_values.size()), 256);
    for (int byte = spec.silence; byte < 256; ++byte) equal("spike_values of silence", spec.spike_values[byte], 0);
}

}  // namespace firstspike
