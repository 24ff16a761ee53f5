// Packed codes: `bits` bits each, at most 8, lowest bit first.
#pragma once

#include <cstdint>

namespace firstspike {

inline uint8_t get(const uint8_t* stream, int64_t index, int bits) {
    const int64_t bit = index * bits;
    const uint8_t* at = stream + bit / 8;
    const int shift = bit % 8;
    unsigned code = at[0] >> shift;
    if (shift + bits > 8) code |= at[1] << (8 - shift);
    return static_cast<uint8_t>(code & ((1u << bits) - 1));
}

// The bits must be 0 before.
inline void put(uint8_t* stream, int64_t index, int bits, unsigned code) {
    const int64_t bit = index * bits;
    uint8_t* at = stream + bit / 8;
    const int shift = bit % 8;
    at[0] |= static_cast<uint8_t>(code << shift);
    if (shift + bits > 8) at[1] |= static_cast<uint8_t>(code >> (8 - shift));
}

}  // namespace firstspike
