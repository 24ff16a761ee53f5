// Fuzz target of the native engine: bytes become a network, its plan and a run (`make fuzz`).
//
// Either any numbers at all are given to the engine, which must refuse what it cannot bear; or numbers that fit, and then every
// spike time and logit must equal those of the plain loops below, and the codes must come back. Small networks only: time goes
// into many of them.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <vector>

#include "../engine.hpp"
#include "plain.hpp"

namespace {

using namespace firstspike;

constexpr int64_t most_codes = 1 << 14, most_outputs = 1 << 12, most_work = 1 << 17;

Common common_from(FuzzedDataProvider& data, bool wild) {
    const std::vector<Isa> sets = available();
    Common common{sets[data.ConsumeIntegralInRange<size_t>(0, sets.size() - 1)], 0, 0, 0};
    common.T = wild ? data.ConsumeIntegral<int>() : data.ConsumeIntegralInRange(1, 255);
    common.weight_bits = wild ? data.ConsumeIntegral<int8_t>() : data.ConsumeIntegralInRange(2, 8);
    common.accumulator_bits = wild ? data.ConsumeIntegral<int8_t>() : data.ConsumeIntegralInRange(8, 48);
    return common;
}

// One axis of a window over n values: kernel, stride, padding, dilation and the number of windows.
struct Window {
    int kernel, stride, padding, count, dilation = 1;

    Window(FuzzedDataProvider& data, int n, bool wild, bool dilated) {
        if (wild) {
            kernel = data.ConsumeIntegral<int>(), stride = data.ConsumeIntegral<int>();
            padding = data.ConsumeIntegral<int>(), count = data.ConsumeIntegral<int>();
            if (dilated) dilation = data.ConsumeIntegral<int>();
            return;
        }
        kernel = data.ConsumeIntegralInRange(1, 9);
        if (dilated) dilation = data.PickValueInArray({1, 1, 1, 2, 3, 7});
        const int reach = (kernel - 1) * dilation + 1;
        padding = data.ConsumeIntegralInRange(std::max(0, (reach - n + 1) / 2), reach - 1);
        stride = data.ConsumeIntegralInRange(1, 4);
        count = (n + 2 * padding - reach) / stride + 1;
    }
};

Geometry geometry(const Shape& in, const Window& y, const Window& x) {
    return {in.height, in.width, y.count,   x.count,   y.kernel,   x.kernel,
            y.stride,  x.stride, y.padding, x.padding, y.dilation, x.dilation};
}

class Case {
public:
    Case(FuzzedDataProvider& data, bool wild) : data_(data), wild_(wild), common_(common_from(data, wild)) {
        const Shape input = data.ConsumeBool() ? Shape{extent(300), 1, 1} : Shape{extent(70), extent(20), extent(40)};
        shapes_.push_back(input);
        partial_.push_back(false);
        const Path path = data.PickValueInArray({Path::automatic, Path::event, Path::dense});
        engine_ = std::make_unique<Engine>(common_, input, path);
    }

    void run() {
        const int layers = data_.ConsumeIntegralInRange(0, 5);
        for (int i = 0; i < layers && work_ < most_work; ++i) add(false);
        add(true);
        engine_->check_complete();
        const int64_t n = data_.ConsumeIntegralInRange(0, 5);
        if (work_ * n > most_work) return;
        std::minstd_rand random(data_.ConsumeIntegral<uint16_t>());
        const int density = data_.ConsumeIntegralInRange(0, 16);
        std::vector<uint8_t> times(n * shapes_[0].size());
        for (uint8_t& time : times)
            time = static_cast<uint8_t>(random() % 16 < static_cast<unsigned>(density) ? random() % common_.T : random());
        compare(times, n, data_.PickValueInArray({1, 1, 1, 2, 3}), data_.ConsumeBool());
    }

private:
    int extent(int most) { return wild_ ? data_.ConsumeIntegral<int>() : data_.ConsumeIntegralInRange(1, most); }

    int number() {
        const int last = static_cast<int>(shapes_.size()) - 1;
        if (wild_) return data_.ConsumeIntegral<int8_t>();
        int number = data_.ConsumeBool() ? last : data_.ConsumeIntegralInRange(0, last);
        while (partial_[number]) --number;  // sums of a part are no spike times
        return number;
    }

    void add(bool readout) {
        const int source = number();
        const bool known = source >= 0 && source < static_cast<int>(shapes_.size());
        const Shape in = known && data_.ConsumeBool() == false ? shapes_[source] : wild_ ? Shape{extent(1), extent(1), extent(1)}
                                                                             : shapes_[source];
        const int kind = readout ? 0 : data_.ConsumeIntegralInRange(0, 6);
        if (kind == 6) return add_shuffle(source, in);
        if (kind == 5) return add_channels(in);
        if (kind == 4) {
            engine_->add_flatten(source, in);
            done({static_cast<int>(in.size()), 1, 1}, 1);
            return;
        }
        const Window y(data_, in.height, wild_, kind != 3), x(data_, in.width, wild_, kind != 3);
        const Geometry g = geometry(in, y, x);
        if (kind == 3) {
            const Shape out{in.channels, y.count, x.count};
            if (too_much(out, int64_t(y.kernel) * x.kernel)) return;
            engine_->add_pool(source, in, out, g);
            done(out, int64_t(y.kernel) * x.kernel);
            return;
        }
        add_synaptic(source, in, g, readout);
    }

    void add_synaptic(int source, const Shape& in, const Geometry& g, bool readout) {
        int groups = wild_ ? data_.ConsumeIntegral<int>() : data_.ConsumeIntegralInRange(1, in.channels);
        if (!wild_)
            while (in.channels % groups != 0) --groups;
        Shape out{0, g.out_height, g.out_width};
        out.channels = wild_ ? extent(1) : groups * data_.ConsumeIntegralInRange(1, groups > 8 ? 2 : 140);
        const int64_t fan_in = wild_ ? 1 : int64_t(in.channels) / groups * g.kernel_h * g.kernel_w;
        if (!wild_ && (fan_in * out.channels > most_codes || too_much(out, fan_in))) return give_up(readout);
        std::vector<int> parts;
        for (int more = data_.PickValueInArray({0, 0, 0, 1, 2}); more > 0; --more) {
            parts.push_back(static_cast<int>(shapes_.size()));
            add_connection({source, in, out, g, groups, false, 0, nullptr, 0, {}, {}, {}, {}, {}, {}, {}, true, {}}, fan_in);
        }
        add_connection({source, in, out, g, groups, !readout, 0, nullptr, 0, {}, {}, {}, {}, {}, {}, parts, false, {}}, fan_in);
    }

    void add_connection(SynapticSpec spec, int64_t fan_in) {
        const Shape out = spec.out;
        const int64_t codes = wild_ ? data_.ConsumeIntegralInRange(0, 4096) : fan_in * out.channels;
        std::minstd_rand random(data_.ConsumeIntegral<uint16_t>());
        streams_.emplace_back((codes * std::clamp(common_.weight_bits, 0, 8) + 7) / 8);
        std::vector<uint8_t>& stream = streams_.back();
        for (uint8_t& byte : stream) byte = static_cast<uint8_t>(random());
        if (const int unused = static_cast<int>(stream.size() * 8 - codes * common_.weight_bits); !wild_ && unused > 0)
            stream.back() = static_cast<uint8_t>(stream.back() & (0xff >> unused));
        spec.stream = stream.data();
        spec.stream_bytes = static_cast<int64_t>(stream.size());
        fill(spec, random);
        specs_.push_back({static_cast<int>(shapes_.size()) - 1, spec});
        Watch watch;
        engine_->add(engine_->plan(std::move(spec), watch));
        done(out, fan_in);
        partial_.back() = specs_.back().second.partial;
    }

    void add_shuffle(int source, const Shape& in) {
        int down = extent(4), across = extent(4);
        if (!wild_ && in.channels % down != 0) down = 1;
        if (!wild_ && in.channels % (down * across) != 0) across = 1;
        engine_->add_shuffle(source, in, down, across);
        done({in.channels / (down * across), in.height * down, in.width * across}, 1);
    }

    void add_channels(const Shape& in) {
        std::vector<int> sources;
        int all = 0;
        for (int i = data_.ConsumeIntegralInRange(1, 3); i > 0; --i) {
            const int source = number();
            if (!wild_ && (shapes_[source].height != in.height || shapes_[source].width != in.width)) continue;
            sources.push_back(source);
            if (!wild_) all += shapes_[source].channels;
        }
        const Shape out{data_.ConsumeIntegralInRange(1, 80), in.height, in.width};
        if (!wild_ && (sources.empty() || too_much(out, 1))) return;
        std::vector<int> channels;
        for (int c = 0; c < out.channels; ++c)
            channels.push_back(wild_ ? data_.ConsumeIntegral<int8_t>() : data_.ConsumeIntegralInRange(-1, all - 1));
        engine_->add_channels(sources, out, channels);
        channels_.push_back(channels);
        done(out, 1);
    }

    void fill(SynapticSpec& spec, std::minstd_rand& random) {
        const int bits = data_.ConsumeIntegralInRange(1, 40), half = common_.accumulator_bits - 1;
        const auto signed_of = [&](int wide) { return ((int64_t(random()) << 32) ^ (int64_t(random()) << 9)) >> (63 - wide); };
        const auto size = [&](int64_t right) { return wild_ ? data_.ConsumeIntegralInRange<int64_t>(0, 300) : right; };
        spec.silence = wild_ ? data_.ConsumeIntegral<int16_t>() : data_.ConsumeBool() ? common_.T : data_.ConsumeIntegralInRange(1, 255);
        const int value_bits = data_.ConsumeIntegralInRange(1, 40);
        for (int64_t i = 0, end = size(256); i < end; ++i)
            spec.spike_values.push_back(i < spec.silence ? (int64_t(random()) << 9) >> (40 - value_bits) : 0);
        for (int64_t i = size(int64_t(1) << common_.weight_bits); i > 0; --i) spec.weights.push_back(signed_of(bits));
        if (!wild_) spec.weights[(1 << (common_.weight_bits - 1)) - 1] = 0;  // the code of zero
        for (int64_t i = size(spec.out.channels); i > 0; --i) spec.bias.push_back(signed_of(wild_ ? 60 : half));
        for (int64_t i = size(spec.fires ? common_.T : 0); i > 0; --i) spec.thresholds.push_back(signed_of(wild_ ? 60 : half));
        std::sort(spec.thresholds.rbegin(), spec.thresholds.rend());
        for (int64_t i = size(256); i > 0; --i) spec.identity.push_back(i > 256 - common_.T ? signed_of(bits) : 0);
        for (int i = spec.partial && !wild_ ? 0 : data_.ConsumeIntegralInRange(0, 2); i > 0; --i) {
            const int residual = number();
            if (wild_ || plain::same(shapes_[residual], spec.out)) spec.residuals.push_back(residual);
        }
        if (!(wild_ || spec.fires) || random() % 4 != 0) return;  // from `random`: kept inputs stay what they are
        for (int64_t i = wild_ ? random() % 40 : spec.out.channels; i > 0; --i)
            spec.shifts.push_back(static_cast<int64_t>(random() % 8) - (wild_ && random() % 64 == 0));
    }

    bool too_much(const Shape& out, int64_t each) const {
        return !wild_ && (out.size() > most_outputs || out.size() * each > most_work);
    }

    // A read-out of one code ends a network whose next layer would be too large.
    void give_up(bool readout) {
        if (readout) throw std::invalid_argument("too large");
    }

    void done(const Shape& out, int64_t each) {
        shapes_.push_back(out);
        partial_.push_back(false);
        work_ += out.size() * each;
    }

    void compare(const std::vector<uint8_t>& times, int64_t n, int threads, bool traced) {
        const auto& steps = engine_->steps();
        std::vector<std::vector<uint8_t>> traces;
        std::vector<uint8_t*> pointers;
        for (size_t s = 0; traced && s + 1 < steps.size(); ++s) {
            traces.emplace_back(steps[s].partial ? 0 : n * steps[s].out.size());
            pointers.push_back(traces.back().data());
        }
        std::vector<int64_t> logits(n * steps.back().out.size());
        Watch watch;
        engine_->run(times.data(), n, logits.data(), pointers, threads, watch);
        plain::Run expected(common_, steps, specs_, channels_, times, n);
        if (logits != expected.logits) fail("logits differ");
        for (size_t s = 0; s < traces.size(); ++s)
            if (!steps[s].partial && traces[s] != expected.values[s + 1]) fail("spike times differ");
        for (size_t i = 0; i < specs_.size(); ++i) {
            const Step& step = steps[specs_[i].first];
            std::vector<uint8_t> stream(stream_size(common_, step));
            read_codes(common_, step, stream.data(), watch);
            if (!std::equal(stream.begin(), stream.end(), specs_[i].second.stream)) fail("codes differ");
        }
    }

    [[noreturn]] static void fail(const char* what) {
        std::fprintf(stderr, "%s\n", what);
        std::abort();
    }

    FuzzedDataProvider& data_;
    const bool wild_;
    const Common common_;
    std::unique_ptr<Engine> engine_;
    std::vector<Shape> shapes_;
    std::vector<bool> partial_;
    std::vector<std::vector<int>> channels_;
    std::deque<std::vector<uint8_t>> streams_;
    std::vector<std::pair<int, SynapticSpec>> specs_;  // number of the step, what it was planned from
    int64_t work_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    FuzzedDataProvider data(bytes, size);
    const bool wild = data.ConsumeIntegralInRange(0, 3) == 0;
    try {
        Case(data, wild).run();
    } catch (const std::invalid_argument&) {
    }
    return 0;
}
