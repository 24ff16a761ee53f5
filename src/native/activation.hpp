// On raw buffers: spike times of real values, and the training activations clip and decode(encode(x)) with a
// straight-through mask (numerics, section 1).
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace firstspike {

// What the kernels need of a code, as bit patterns of the buffer's type (positive floats order like integers).
struct KernelTable {
    int count = 0;               // T
    const uint32_t* ascending;   // bit patterns of kappa(T-1) .. kappa(0)
    int fractions = 0;           // levels inside an octave above its power of two
    const uint32_t* fraction;    // their mantissa bits, ascending
    bool octaves = false;        // true if `fraction` repeats in every octave: the short path is exact
};

struct ActivationKernels {
    void (*ttfs32)(const uint32_t* in, uint32_t* out, uint8_t* mask, int64_t count, const KernelTable& table);
    void (*ttfs16)(const uint16_t* in, uint16_t* out, uint8_t* mask, int64_t count, const KernelTable& table);
    void (*clip32)(const uint32_t* in, uint32_t* out, uint8_t* mask, int64_t count);
    void (*clip16)(const uint16_t* in, uint16_t* out, uint8_t* mask, int64_t count);
    // (grad + constant) where the mask is 1, else 0; a constant of 0 leaves the bits of grad.
    void (*masked32)(const uint32_t* grad, const uint8_t* mask, uint32_t* out, int64_t count, float constant);
    void (*masked16)(const uint16_t* grad, const uint8_t* mask, uint16_t* out, int64_t count, float constant);
    double (*sum32)(const uint32_t* in, int64_t count);
    double (*sum16)(const uint16_t* in, int64_t count);
    void (*quantise)(const float* w, float* out, int64_t count, const float* boundaries, const float* levels, int levels_count);
    // Spike times: T minus the number of `ascending` kernel values not above x; 255 if there is none.
    void (*encode32)(const float* in, uint8_t* times, int64_t count, const float* ascending, int T);
    void (*encode64)(const double* in, uint8_t* times, int64_t count, const double* ascending, int T);
};

const ActivationKernels& activation_kernels(Isa isa);

}  // namespace firstspike
