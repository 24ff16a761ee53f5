// Which layers become matrices of bytes, and the order of their weights.
#include <algorithm>
#include <bit>
#include <numeric>

#include "plan.hpp"
#include "stream.hpp"

namespace firstspike {
namespace {

constexpr int code_bits = 6;  // at most: tables of 64 bytes
// Weights of two tiles of columns keep memory in bounds.
constexpr int64_t panel_bytes = 4 << 20;
// Zeros that fill tiles up cost as much as weights. Below this share of weights the other kernels are as fast.
constexpr double worth = 0.1;

int64_t common_divisor(const std::vector<int64_t>& values) {
    int64_t divisor = 0;
    for (int64_t value : values) divisor = std::gcd(divisor, value);
    return std::max<int64_t>(divisor, 1);
}

// Planes of weights, and values and their scaled ones; false where they do not fit bytes.
bool fill_tables(const std::vector<int64_t>& values, const std::vector<int64_t>& weights, int bits, MatrixPlan& plan) {
    const int64_t value_unit = common_divisor(values), weight_unit = common_divisor(weights);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    if (*least < 0 || *most / value_unit > UINT8_MAX) return false;
    const int64_t scale = UINT8_MAX / std::max<int64_t>(*most / value_unit, 1);
    for (int i = 0; i < 256; ++i) {
        plan.values.plain[i] = static_cast<uint8_t>(values[i] / value_unit);
        plan.values.scaled[i] = static_cast<uint8_t>(values[i] / value_unit * scale);
    }
    plan.values.brief = std::all_of(values.begin() + 63, values.end(), [](int64_t value) { return value == 0; });
    for (int i = 0; i < 64; ++i) {
        const int64_t weight = weights[i % weights.size()] / weight_unit;
        const int64_t sign = weight < 0 ? -1 : 1, beyond = std::max<int64_t>(0, sign * weight - INT8_MAX);
        int64_t scaled = (beyond + scale - 1) / scale;  // the first plane takes what is left, 127 at most
        plan.weights.plane[0][i] = static_cast<int8_t>(weight - sign * scaled * scale);
        for (int p = 1; p < planes; ++p, scaled -= std::min<int64_t>(scaled, INT8_MAX))
            plan.weights.plane[p][i] = static_cast<int8_t>(sign * std::min<int64_t>(scaled, INT8_MAX));
        if (scaled > 0) return false;
        plan.scaled |= plan.weights.plane[1][i] != 0;
        plan.weights.spread[i] = static_cast<uint8_t>(i / 8 * bits + (i % 8 < bits ? i % 8 : 0));
        plan.weights.shift[i] = static_cast<uint8_t>(i % 8 * bits);
    }
    plan.factor = static_cast<uint32_t>(value_unit) * static_cast<uint32_t>(weight_unit);
    return true;
}

// Planes that a code needs besides the first.
uint8_t further(const MatrixWeights& weights, uint8_t code) {
    return static_cast<uint8_t>(std::count_if(weights.plane + 1, weights.plane + planes, [&](const auto& p) { return p[code] != 0; }));
}

// The least integer whose key is `key` or more: keys are bits 20.. of the float, so three bits of mantissa.
int64_t least_of(int32_t key) {
    const int octave = (key >> 3) - 127, mantissa = 8 + (key & 7);
    return octave < 0 ? 1 : octave < 3 ? (mantissa + (1 << (3 - octave)) - 1) >> (3 - octave) : int64_t(mantissa) << (octave - 3);
}

OctaveTable octave_table(const FireTable& fire) {
    OctaveTable table{};
    table.unused_bits = 32 - fire.accumulator_bits;
    const int64_t last = fire.thresholds[fire.T - 1], first = fire.thresholds[0];
    if (last < 1) return table;
    const auto time_of = [&](int64_t u) {
        const auto above = std::find_if(fire.thresholds, fire.thresholds + fire.T, [&](int64_t theta) { return u >= theta; });
        return above == fire.thresholds + fire.T ? 255 : static_cast<int>(above - fire.thresholds);
    };
    table.start = (std::bit_cast<int32_t>(static_cast<float>(std::bit_floor(static_cast<uint64_t>(last)))) >> 20) - 1;
    table.exact = time_of(least_of(table.start + 63)) == 0 && first < (int64_t(1) << 31);
    for (int i = 0; i < 64; ++i) {
        const int64_t low = least_of(table.start + i), high = least_of(table.start + i + 1) - 1;
        table.times[i] = static_cast<uint8_t>(i == 0 ? 255 : time_of(low));
        if (i > 0 && i < 63 && high >= low && time_of(high) != table.times[i]) table.exact = false;
    }
    return table;
}

// Number in the model file of the weight at each place of the packed order, -1 where there is none.
template <class Visit>
void each_place(const Step& step, Watch& watch, Visit visit) {
    const MatrixPlan& plan = step.matrix;
    const int inputs = step.group_inputs(), outputs = step.group_outputs(), taps = step.geometry.kernel_h * step.geometry.kernel_w;
    int64_t place = 0;
    for (int group = 0; group < step.groups; ++group)
        for (int columns = 0; columns < plan.column_tiles; ++columns)
            for (int tile = 0; tile < plan.row_tiles; ++tile) {
                watch.check(0);
                for (int i = 0; i < tile_bytes; ++i, ++place) {
                    const int column = i / 4 % tile_columns, row = i / (4 * tile_columns) * 4 + i % 4;
                    const int64_t at = int64_t(tile) * tile_depth + row;
                    const int64_t tap = plan.by_tap ? tile % taps : at / inputs;
                    const int64_t c = plan.by_tap ? tile / taps * tile_depth + row : at % inputs;
                    const int output = columns * tile_columns + column;
                    const bool present = tap < taps && c < inputs && output < outputs;
                    visit(place, present ? ((int64_t(group) * outputs + output) * inputs + c) * taps + tap : -1);
                }
            }
}

}  // namespace

bool plan_matrix(const Common& common, const SynapticSpec& spec, Path path, Watch& watch, Step& step) {
    const int bits = common.weight_bits;
    if (matrix_kernels(common.isa) == nullptr || path == Path::event || step.width != Width::bits16 || bits > code_bits) return false;
    MatrixPlan plan;
    if (!fill_tables(spec.spike_values, step.weights, bits, plan)) return false;
    const int64_t taps = int64_t(step.geometry.kernel_h) * step.geometry.kernel_w, inputs = step.group_inputs();
    const int64_t tap_tiles = (inputs + tile_depth - 1) / tile_depth;
    plan.by_tap = 4 * inputs >= 3 * tap_tiles * tile_depth;
    plan.row_tiles = static_cast<int>(plan.by_tap ? taps * tap_tiles : (taps * inputs + tile_depth - 1) / tile_depth);
    plan.column_tiles = (step.group_outputs() + tile_columns - 1) / tile_columns;
    if (int64_t(plan.row_tiles) * planes * 2 * tile_bytes > panel_bytes) return false;
    const int64_t places = int64_t(plan.row_tiles) * plan.column_tiles * tile_bytes;
    const auto weights = static_cast<double>(taps * inputs * step.group_outputs());
    if (path == Path::automatic && weights < worth * static_cast<double>(places)) return false;
    if (step.fires) plan.octaves = octave_table(step.fire);

    const auto zero = static_cast<uint8_t>((1 << (bits - 1)) - 1);
    step.matrix = std::move(plan);
    step.packed.resize(step.groups * places / 8 * bits);
    step.matrix.further.resize(step.groups * places / tile_bytes);
    each_place(step, watch, [&](int64_t place, int64_t index) {
        const uint8_t code = index < 0 ? zero : get(spec.stream, index, bits);
        put(step.packed.data(), place, bits, code);
        uint8_t& most = step.matrix.further[place / tile_bytes];
        most = std::max(most, further(step.matrix.weights, code));
    });
    step.kind = Step::Kind::matrix;
    return true;
}

void read_matrix(const Common& common, const Step& step, uint8_t* stream, Watch& watch) {
    each_place(step, watch, [&](int64_t place, int64_t index) {
        if (index >= 0) put(stream, index, common.weight_bits, get(step.packed.data(), place, common.weight_bits));
    });
}

}  // namespace firstspike
