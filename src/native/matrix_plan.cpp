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
constexpr int least_channels = 16;  // of a tile of 64: activations grow to four times their size at most

int64_t common_divisor(const std::vector<int64_t>& values) {
    int64_t divisor = 0;
    for (int64_t value : values) divisor = std::gcd(divisor, value);
    return std::max<int64_t>(divisor, 1);
}

// Planes that a code needs besides the first.
uint8_t further(const MatrixWeights& weights, uint8_t code) {
    return static_cast<uint8_t>(std::count_if(weights.plane + 1, weights.plane + planes, [&](const auto& p) { return p[code] != 0; }));
}

// Values, and planes of weights; false where they do not fit bytes.
bool fill_tables(const std::vector<int64_t>& values, const std::vector<int64_t>& weights, int bits, MatrixPlan& plan) {
    const int64_t value_unit = common_divisor(values), weight_unit = common_divisor(weights);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    if (*least < 0 || *most / value_unit > UINT8_MAX) return false;
    for (int i = 0; i < 256; ++i) plan.values.byte[i] = static_cast<uint8_t>(values[i] / value_unit);
    plan.values.brief = std::all_of(values.begin() + 63, values.end(), [](int64_t value) { return value == 0; });
    for (int i = 0; i < 64; ++i) {
        int64_t rest = weights[i % weights.size()] / weight_unit;
        for (int p = 0; p < planes; ++p) {
            plan.weights.plane[p][i] = static_cast<int8_t>(std::clamp<int64_t>(rest, INT8_MIN, INT8_MAX));
            rest -= plan.weights.plane[p][i];
        }
        if (rest != 0) return false;
        plan.planes = std::max(plan.planes, 1 + further(plan.weights, static_cast<uint8_t>(i)));
        plan.weights.spread[i] = static_cast<uint8_t>(i / 8 * bits + (i % 8 < bits ? i % 8 : 0));
        plan.weights.shift[i] = static_cast<uint8_t>(i % 8 * bits);
    }
    plan.factor = static_cast<uint32_t>(value_unit) * static_cast<uint32_t>(weight_unit);
    return true;
}

// The least integer whose key is `key` or more: keys are bits 20.. of the float, so three bits of mantissa.
int64_t least_of(int32_t key) {
    const int octave = (key >> 3) - 127, mantissa = 8 + (key & 7);
    return octave < 0 ? 1 : octave < 3 ? (mantissa + (1 << (3 - octave)) - 1) >> (3 - octave) : int64_t(mantissa) << (octave - 3);
}

// Of sums in units of 2^shift. All thresholds must be multiples: then what is below the unit counts for nothing.
OctaveTable octave_table(const FireTable& fire, int shift) {
    OctaveTable table{};
    const int64_t last = fire.thresholds[fire.T - 1] >> shift, first = fire.thresholds[0] >> shift;
    const auto whole = [&](int64_t theta) { return theta % (int64_t(1) << shift) == 0; };
    if (last < 1 || !std::all_of(fire.thresholds, fire.thresholds + fire.T, whole)) return table;
    const auto time_of = [&](int64_t sum) {
        const auto above = std::find_if(fire.thresholds, fire.thresholds + fire.T, [&](int64_t theta) { return sum >= theta >> shift; });
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

// False where what residuals add does not fit bytes in units of the sums, or not the first 63 spike times.
bool fill_residuals(const std::vector<int64_t>& identity, int unit, MatrixResiduals& residuals) {
    int64_t all = 0;
    for (int64_t value : identity) all |= value;
    const auto [least, most] = std::minmax_element(identity.begin(), identity.end());
    if (all == 0) return true;
    const int zeros = std::countr_zero(static_cast<uint64_t>(all));
    const bool brief = std::all_of(identity.begin() + 63, identity.end(), [](int64_t value) { return value == 0; });
    if (!brief || *least < 0 || *most > INT32_MAX || zeros < unit || *most >> zeros > UINT8_MAX) return false;
    residuals.shift = zeros - unit;
    for (int i = 0; i < 256; ++i) residuals.byte[i] = static_cast<uint8_t>(identity[i] >> zeros);
    std::copy_n(residuals.byte, 64, residuals.first);
    return true;
}

// The code of -w for every code of w; empty where some weight has none.
std::vector<uint8_t> negatives(const std::vector<int64_t>& weights) {
    std::vector<uint8_t> codes;
    for (size_t code = 0; code < weights.size(); ++code) {
        const auto found = weights[code] == 0 ? weights.begin() + static_cast<int64_t>(code)
                                              : std::find(weights.begin(), weights.end(), -weights[code]);
        if (found == weights.end()) return {};
        codes.push_back(static_cast<uint8_t>(found - weights.begin()));
    }
    for (size_t code = 0; code < codes.size(); ++code)
        if (codes[codes[code]] != code) return {};
    return codes;
}

// What the codes of each output channel say: whether those of -w need fewer planes, and whether membranes keep clear of the ends of
// the accumulator, so that sums need no wrapping.
void survey(const Common& common, const SynapticSpec& spec, const std::vector<uint8_t>& negative, Watch& watch, Step& step) {
    MatrixPlan& plan = step.matrix;
    const int64_t field = code_count(step) / step.out.channels;
    const int64_t most = *std::max_element(spec.spike_values.begin(), spec.spike_values.end());
    const int64_t limit = int64_t(1) << (common.accumulator_bits - 1);
    plan.unit = std::countr_zero(plan.factor);
    plan.direct = step.fires && std::has_single_bit(plan.factor) && step.residuals.size() + step.parts.size() <= most_addends;
    plan.direct = plan.direct && (step.residuals.empty() || fill_residuals(step.identity, plan.unit, plan.residuals));
    for (const Reach* part : spec.part_reach) plan.direct = plan.direct && !part->least.empty() && part->zeros >= plan.unit;
    if (plan.direct) plan.octaves = octave_table(step.fire, plan.unit);
    plan.direct = plan.direct && plan.octaves.exact;
    const auto [low, high] = std::minmax_element(step.identity.begin(), step.identity.end());
    const auto residuals = static_cast<int64_t>(step.residuals.size());
    step.reach.zeros = plan.unit;
    for (int channel = 0; channel < step.out.channels; ++channel) {
        watch.check(0);
        int64_t counts[64] = {}, planes_now = 0, planes_negated = 0, least = step.bias[channel], greatest = least;
        if (least != 0) step.reach.zeros = std::min(step.reach.zeros, std::countr_zero(static_cast<uint64_t>(least)));
        for (int64_t i = 0; i < field; ++i) ++counts[get(spec.stream, channel * field + i, common.weight_bits)];
        for (size_t code = 0; code < step.weights.size(); ++code) {
            const int64_t sum = counts[code] * step.weights[code] * most;
            (sum < 0 ? least : greatest) += sum;
            planes_now += counts[code] * further(plan.weights, static_cast<uint8_t>(code));
            if (!negative.empty()) planes_negated += counts[code] * further(plan.weights, negative[code]);
        }
        if (step.partial) step.reach.least.push_back(least), step.reach.greatest.push_back(greatest);
        if (plan.direct) {
            least += residuals * *low, greatest += residuals * *high;
            for (const Reach* part : spec.part_reach) least += part->least[channel], greatest += part->greatest[channel];
        }
        plan.negated.push_back(!negative.empty() && planes_negated < planes_now);
        plan.direct = plan.direct && -limit <= least && greatest < limit;
    }
    const auto outside = [&](int64_t sum) { return sum < -limit || sum >= limit; };
    for (const std::vector<int64_t>* sums : {&step.reach.least, &step.reach.greatest})
        if (std::any_of(sums->begin(), sums->end(), outside)) step.reach = {};
    for (int channel = 0; channel < step.out.channels; ++channel) {
        const int64_t start = plan.direct ? step.bias[channel] >> plan.unit : 0;
        plan.starts.push_back(static_cast<int32_t>(plan.negated[channel] ? -start : start));
    }
}

// The output channel of the weight at each place of the packed order, -1 where there is none, and its number in the model file.
template <class Visit>
void each_place(const Step& step, Watch& watch, Visit visit) {
    const MatrixPlan& plan = step.matrix;
    const Geometry& g = step.geometry;
    const int inputs = step.group_inputs(), outputs = step.group_outputs(), taps = g.kernel_h * g.kernel_w;
    int64_t number = 0;
    for (int group = 0; group < step.groups; ++group)
        for (int columns = 0; columns < plan.column_tiles; ++columns)
            for (int tile = 0; tile < plan.row_tiles; ++tile) {
                watch.check(0);
                for (int i = 0; i < tile_bytes; ++i, ++number) {
                    const int column = i / 4 % tile_columns, row = i / (4 * tile_columns) * 4 + i % 4;
                    const int64_t at = int64_t(tile) * tile_depth + row;
                    const int64_t place = plan.by_tap ? 0 : at / inputs;  // of the tap, column by column
                    const int64_t tap = plan.by_tap ? tile % taps : place % g.kernel_h * g.kernel_w + place / g.kernel_h;
                    const int64_t c = plan.by_tap ? tile / taps * tile_depth + row : at % inputs;
                    const int output = columns * tile_columns + column;
                    const bool present = place < taps && c < inputs && output < outputs;
                    const int channel = group * outputs + output;
                    visit(number, present ? channel : -1, (int64_t(channel) * inputs + c) * taps + tap);
                }
            }
}

}  // namespace

bool fills_tiles(int width) { return 5 * width >= 3 * ((width + tile_rows - 1) / tile_rows * tile_rows); }

bool plan_matrix(const Common& common, const SynapticSpec& spec, Path path, Watch& watch, Step& step) {
    const int bits = common.weight_bits;
    if (matrix_kernels(common.isa) == nullptr || path == Path::event || step.width != Width::bits16 || bits > code_bits) return false;
    MatrixPlan plan;
    if (!fill_tables(spec.spike_values, step.weights, bits, plan)) return false;
    const int64_t taps = int64_t(step.geometry.kernel_h) * step.geometry.kernel_w, inputs = step.group_inputs();
    const int64_t tap_tiles = (inputs + tile_depth - 1) / tile_depth;
    const int64_t least_tiles = (taps * inputs + tile_depth - 1) / tile_depth;
    plan.by_tap = 4 * inputs >= 3 * tap_tiles * tile_depth || (taps * tap_tiles == least_tiles && inputs >= least_channels);
    plan.row_tiles = static_cast<int>(plan.by_tap ? taps * tap_tiles : least_tiles);
    plan.column_tiles = (step.group_outputs() + tile_columns - 1) / tile_columns;
    if (int64_t(plan.row_tiles) * plan.planes * 2 * tile_bytes > panel_bytes) return false;
    const int64_t places = int64_t(plan.row_tiles) * plan.column_tiles * tile_bytes;
    const auto weights = static_cast<double>(taps * inputs * step.group_outputs());
    if (path == Path::automatic && weights < worth * static_cast<double>(places)) return false;
    plan.strips = !plan.by_tap && step.groups == 1 && step.geometry.dilation_w == 1 && fills_tiles(step.geometry.out_width);

    const auto zero = static_cast<uint8_t>((1 << (bits - 1)) - 1);
    const std::vector<uint8_t> negative = negatives(step.weights);
    step.matrix = std::move(plan);
    survey(common, spec, negative, watch, step);
    step.packed.resize(step.groups * places / 8 * bits);
    step.matrix.further.resize(step.groups * places / tile_bytes);
    each_place(step, watch, [&](int64_t place, int channel, int64_t index) {
        uint8_t code = channel < 0 ? zero : get(spec.stream, index, bits);
        if (channel >= 0 && step.matrix.negated[channel]) code = negative[code];
        put(step.packed.data(), place, bits, code);
        uint8_t& most = step.matrix.further[place / tile_bytes];
        most = std::max(most, further(step.matrix.weights, code));
    });
    const int64_t more = std::accumulate(step.matrix.further.begin(), step.matrix.further.end(), int64_t(0));
    if (path == Path::automatic && weights < worth * static_cast<double>(places + more * tile_bytes / step.groups)) {
        step.matrix = {};
        step.packed.clear();
        return false;
    }
    step.kind = Step::Kind::matrix;
    return true;
}

void plan_apart(const Common& common, const SynapticSpec& spec, Path path, Watch& watch, Step& step) {
    const bool allowed = matrix_kernels(common.isa) != nullptr && path != Path::event && step.width == Width::bits16;
    if (step.in.channels < least_channels || step.geometry.pad_w > most_border) return;
    if (!allowed || common.weight_bits > code_bits || !step.fires || !step.residuals.empty() || !step.parts.empty()) return;
    MatrixPlan plan;
    if (!fill_tables(spec.spike_values, step.weights, common.weight_bits, plan) || !plan.values.brief) return;
    const int64_t unit = common_divisor(step.weights), half = int64_t(1) << (apart_digit - 1);
    for (int i = 0; i < 64; ++i) {
        const int64_t weight = step.weights[i % step.weights.size()] / unit, high = (weight + half) >> apart_digit;
        plan.digits.digit[0][i] = static_cast<int8_t>(weight - (high << apart_digit));
        plan.digits.digit[1][i] = static_cast<int8_t>(high);
        plan.digits.large = plan.digits.large || high != 0;
    }
    step.matrix = std::move(plan);
    survey(common, spec, {}, watch, step);
    step.matrix.apart = step.matrix.direct;
}

void read_matrix(const Common& common, const Step& step, uint8_t* stream, Watch& watch) {
    const std::vector<uint8_t> negative = negatives(step.weights);
    each_place(step, watch, [&](int64_t place, int channel, int64_t index) {
        if (channel < 0) return;
        const uint8_t code = get(step.packed.data(), place, common.weight_bits);
        put(stream, index, common.weight_bits, step.matrix.negated[channel] ? negative[code] : code);
    });
}

}  // namespace firstspike
