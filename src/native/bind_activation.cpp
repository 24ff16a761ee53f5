// Python bindings of the training activations. Buffers are addresses of contiguous memory: the caller owns and checks them.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "activation.hpp"
#include "signals.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace firstspike {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int64_t chunk = 1 << 15;  // elements of one task: a quarter of a core's level-2 cache

bool is_float32(const char* name) {
    const std::string dtype = name;
    if (dtype != "float32" && dtype != "bfloat16")
        throw std::invalid_argument("dtype must be float32 or bfloat16, not '" + dtype + "'");
    return dtype == "float32";
}

// Addresses are the caller's word; the one that is wrong for certain is refused.
void need(std::initializer_list<uintptr_t> addresses, int64_t count) {
    for (uintptr_t address : addresses)
        if (count > 0 && address == 0) throw std::invalid_argument("addresses must not be 0");
}

template <class Body>
void for_chunks(int64_t count, int threads, const Body& body) {
    if (count < 0) throw std::invalid_argument("count must be at least 0, not " + std::to_string(count));
    if (threads < 1 || threads > 1024)
        throw std::invalid_argument("threads must be in 1..1024, not " + std::to_string(threads));
    const auto task = [&](int64_t item, int) {
        const int64_t start = item * chunk;
        body(start, std::min(chunk, count - start));
    };
    Watch watch = watch_signals();
    nb::gil_scoped_release release;
    parallel(threads, (count + chunk - 1) / chunk, task, watch);
}

const ActivationKernels& best() { return activation_kernels(choose("auto")); }

// Bit patterns of the kernel in the buffer's type, and whether the short path holds.
struct Table {
    std::vector<uint32_t> ascending, fraction;
    KernelTable view;

    Table(const Floats& kernel, bool float32) {
        if (kernel.size() < 1 || kernel.size() > 255)
            throw std::invalid_argument("kernel must hold 1..255 values, not " + std::to_string(kernel.size()));
        const uint32_t fraction_mask = float32 ? 0x7fffffu : 0x7fu;
        for (size_t i = 0; i < kernel.shape(0); ++i) {
            uint32_t bits;
            std::memcpy(&bits, &kernel.data()[i], sizeof bits);
            if (!(kernel.data()[i] > 0.0f && kernel.data()[i] <= 1.0f) || (i > 0 && kernel.data()[i] <= kernel.data()[i - 1]))
                throw std::invalid_argument("kernel must rise strictly in (0, 1]");
            if (!float32 && (bits & 0xffffu)) throw std::invalid_argument("kernel must be exact in bfloat16");
            ascending.push_back(float32 ? bits : bits >> 16);
        }
        if (kernel.data()[ascending.size() - 1] != 1.0f)
            throw std::invalid_argument("kernel must end with 1");
        // The octave below 1 holds all levels if there are that many steps.
        const uint32_t half = float32 ? 0x3f000000u : 0x3f00u, one = float32 ? 0x3f800000u : 0x3f80u;
        for (uint32_t bits : ascending)
            if (bits > half && bits < one) fraction.push_back(bits & fraction_mask);
        view = {static_cast<int>(ascending.size()), ascending.data(), static_cast<int>(fraction.size()), fraction.data(), false};
        view.octaves = repeats(fraction_mask, one);
    }

    // True if every table entry, and no other value, is a fixed point of "keep the exponent, round the fraction down".
    bool repeats(uint32_t fraction_mask, uint32_t one) const {
        std::vector<uint32_t> expected{one};
        for (uint32_t octave = one - (fraction_mask + 1); expected.back() > ascending[0]; octave -= fraction_mask + 1) {
            for (auto f = fraction.rbegin(); f != fraction.rend(); ++f) expected.push_back(octave | *f);
            expected.push_back(octave);
        }
        std::reverse(expected.begin(), expected.end());
        const auto first = std::lower_bound(expected.begin(), expected.end(), ascending[0]);
        return std::equal(first, expected.end(), ascending.begin(), ascending.end());
    }
};

template <class T>
T* at(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

uint8_t* shifted(uintptr_t mask, int64_t start) { return mask == 0 ? nullptr : at<uint8_t>(mask) + start; }

// The sum of a buffer's elements, taken chunk by chunk right after each was written; 0 if not wanted.
class Sum {
public:
    Sum(bool wanted, int64_t count) : parts_(wanted && count > 0 ? (count + chunk - 1) / chunk : 0) {}

    void take(uintptr_t out, int64_t start, int64_t n, bool float32) {
        if (parts_.empty()) return;
        parts_[start / chunk] = float32 ? best().sum32(at<uint32_t>(out) + start, n) : best().sum16(at<uint16_t>(out) + start, n);
    }

    double total() const { return std::accumulate(parts_.begin(), parts_.end(), 0.0); }

private:
    std::vector<double> parts_;
};

double ttfs_forward(uintptr_t in, uintptr_t out, uintptr_t mask, int64_t count, const Floats& kernel, const char* dtype,
                    int threads, bool summed) {
    const bool float32 = is_float32(dtype);
    need({in, out}, count);
    const Table table(kernel, float32);
    const auto& kernels = best();
    Sum sum(summed, count);
    for_chunks(count, threads, [&](int64_t start, int64_t n) {
        if (float32)
            kernels.ttfs32(at<uint32_t>(in) + start, at<uint32_t>(out) + start, shifted(mask, start), n, table.view);
        else
            kernels.ttfs16(at<uint16_t>(in) + start, at<uint16_t>(out) + start, shifted(mask, start), n, table.view);
        sum.take(out, start, n, float32);
    });
    return sum.total();
}

double clip_forward(uintptr_t in, uintptr_t out, uintptr_t mask, int64_t count, const char* dtype, int threads, bool summed) {
    const bool float32 = is_float32(dtype);
    need({in, out}, count);
    const auto& kernels = best();
    Sum sum(summed, count);
    for_chunks(count, threads, [&](int64_t start, int64_t n) {
        if (float32)
            kernels.clip32(at<uint32_t>(in) + start, at<uint32_t>(out) + start, shifted(mask, start), n);
        else
            kernels.clip16(at<uint16_t>(in) + start, at<uint16_t>(out) + start, shifted(mask, start), n);
        sum.take(out, start, n, float32);
    });
    return sum.total();
}

void masked_backward(uintptr_t grad, uintptr_t mask, uintptr_t out, int64_t count, const char* dtype, int threads,
                     float constant) {
    const bool float32 = is_float32(dtype);
    need({grad, mask, out}, count);
    const auto& kernels = best();
    for_chunks(count, threads, [&](int64_t start, int64_t n) {
        if (float32)
            kernels.masked32(at<uint32_t>(grad) + start, at<uint8_t>(mask) + start, at<uint32_t>(out) + start, n, constant);
        else
            kernels.masked16(at<uint16_t>(grad) + start, at<uint8_t>(mask) + start, at<uint16_t>(out) + start, n, constant);
    });
}

void quantise_forward(uintptr_t w, uintptr_t out, int64_t count, const Floats& boundaries, const Floats& levels, int threads) {
    if (levels.shape(0) != boundaries.shape(0) + 1)
        throw std::invalid_argument("levels must hold one entry more than boundaries");
    need({w, out}, count);
    const auto& kernels = best();
    for_chunks(count, threads, [&](int64_t start, int64_t n) {
        kernels.quantise(at<float>(w) + start, at<float>(out) + start, n, boundaries.data(), levels.data(),
                         static_cast<int>(levels.shape(0)));
    });
}

template <class F>
using Values = nb::ndarray<const F, nb::c_contig, nb::device::cpu>;

template <class F>
void encode(const Values<F>& values, nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu> times, const Values<F>& kernel, int threads) {
    if (values.size() != times.size()) throw std::invalid_argument("values and times must have the same size");
    const int T = static_cast<int>(kernel.size());
    if (T < 1 || T > 255) throw std::invalid_argument("kernel must hold 1..255 values, not " + std::to_string(T));
    const auto& kernels = best();
    for_chunks(static_cast<int64_t>(values.size()), threads, [&](int64_t start, int64_t n) {
        if constexpr (sizeof(F) == 4)
            kernels.encode32(values.data() + start, times.data() + start, n, kernel.data(), T);
        else
            kernels.encode64(values.data() + start, times.data() + start, n, kernel.data(), T);
    });
}

}  // namespace

void bind_activation(nb::module_& m) {
    m.def("encode", &encode<float>, "values"_a.noconvert(), "times"_a.noconvert(), "kernel"_a.noconvert(), "threads"_a = 1,
          "times = first spike times of values (float32 or float64), `kernel` kappa(T-1) .. kappa(0) of the same type.");
    m.def("encode", &encode<double>, "values"_a.noconvert(), "times"_a.noconvert(), "kernel"_a.noconvert(), "threads"_a = 1);
    m.def("ttfs_forward", &ttfs_forward, "in_ptr"_a, "out_ptr"_a, "mask_ptr"_a, "count"_a, "kernel"_a, "dtype"_a, "threads"_a = 1,
          "summed"_a = false,
          "out = decode(encode(in)), mask = 0 < in < 1 (uint8; address 0 for none). NaN stays NaN. Returns the sum of out if summed.\n\n"
          "`kernel`: kappa(T-1) .. kappa(0) as float32, ascending. `dtype`: float32 or bfloat16. in == out is allowed.");
    m.def("clip_forward", &clip_forward, "in_ptr"_a, "out_ptr"_a, "mask_ptr"_a, "count"_a, "dtype"_a, "threads"_a = 1,
          "summed"_a = false,
          "out = min(max(in, 0), 1), mask = 0 < in < 1 (uint8; address 0 for none). NaN stays NaN. Returns the sum of out if summed.");
    m.def("masked_backward", &masked_backward, "grad_ptr"_a, "mask_ptr"_a, "out_ptr"_a, "count"_a, "dtype"_a, "threads"_a = 1,
          "constant"_a = 0.0f, "out = grad + constant where mask is 1, else 0.");
    m.def("quantise_forward", &quantise_forward, "w_ptr"_a, "out_ptr"_a, "count"_a, "boundaries"_a, "levels"_a, "threads"_a = 1,
          "out = sign(w) * levels[number of boundaries <= |w|], all float32. NaN stays NaN.");
}

}  // namespace firstspike
