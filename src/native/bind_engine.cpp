// Python bindings of the native engine. firstspike.engine.native checks shapes and types and speaks to the user; what would
// reach memory that is not there is refused here and in check.hpp all the same. Lists and strings are taken as objects: their
// conversion to C++ would end the process when memory is short.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "engine.hpp"
#include "signals.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace firstspike {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Triple = std::tuple<int, int, int>;
using Pair = std::tuple<int, int>;

constexpr int max_threads = 1024;

// An engine, and whether steps may still be added: others may read those that are there, on other threads.
struct Builder {
    Engine engine;
    bool open = true;
};

// Closed for a while: one thread at a time adds.
class Closed {
public:
    explicit Closed(Builder& builder) : builder_(builder) { builder.open = false; }
    ~Closed() { builder_.open = true; }

private:
    Builder& builder_;
};

std::vector<int64_t> vector(const Integers& values) { return {values.data(), values.data() + values.size()}; }

std::vector<int> integers(const nb::list& values) {
    std::vector<int> numbers;
    for (nb::handle value : values) numbers.push_back(nb::cast<int>(value));
    return numbers;
}

Shape shape(const Triple& s) { return {std::get<0>(s), std::get<1>(s), std::get<2>(s)}; }

Geometry geometry(const Triple& in, const Triple& out, Pair kernel, Pair stride, Pair padding, Pair dilation) {
    return {std::get<1>(in), std::get<2>(in), std::get<1>(out), std::get<2>(out), std::get<0>(kernel), std::get<1>(kernel),
            std::get<0>(stride), std::get<1>(stride), std::get<0>(padding), std::get<1>(padding), std::get<0>(dilation),
            std::get<1>(dilation)};
}

Path path(const std::string& name) {
    if (name == "auto") return Path::automatic;
    if (name == "event") return Path::event;
    if (name == "dense") return Path::dense;
    throw std::invalid_argument("path must be auto, event or dense, not '" + name + "'");
}

Engine& open_engine(Builder& builder) {
    if (!builder.open) throw std::invalid_argument("steps must be added one after another, before the first run");
    return builder.engine;
}

Builder* create(const Triple& input, int T, int weight_bits, int accumulator_bits, const char* instructions,
                const char* path_name) {
    Common common{choose(instructions), T, weight_bits, accumulator_bits};
    return new Builder{Engine(std::move(common), shape(input), path(path_name))};
}

void add_synaptic(Builder& builder, int source, const Triple& in, const Triple& out, const Bytes& stream, Pair kernel,
                  Pair stride, Pair padding, Pair dilation, int groups, bool fires, int silence, const Integers& spike_values,
                  const Integers& weights, const Integers& bias, const Integers& thresholds, const Integers& identity,
                  const nb::list& residuals, const nb::list& parts, bool partial, const Integers& shifts) {
    SynapticSpec spec{source, shape(in), shape(out), geometry(in, out, kernel, stride, padding, dilation), groups, fires, silence,
                      stream.data(), static_cast<int64_t>(stream.size()), vector(spike_values), vector(weights), vector(bias),
                      vector(thresholds), vector(identity), integers(residuals), integers(parts), partial,
                      vector(shifts)};
    Engine& engine = open_engine(builder);
    const Closed closed(builder);
    Watch watch = watch_signals();
    engine.add([&] {
        const nb::gil_scoped_release release;
        return engine.plan(std::move(spec), watch);
    }());
}

void codes(const Builder& builder, size_t number, nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> stream) {
    const Engine& engine = builder.engine;
    if (number >= engine.steps().size() || engine.steps()[number].weights.empty())
        throw std::invalid_argument("number must be that of a layer with weights, not " + std::to_string(number));
    const Step& step = engine.steps()[number];
    if (int64_t(stream.size()) != stream_size(engine.common(), step))
        throw std::invalid_argument("stream must hold one code per weight");
    Watch watch = watch_signals();
    nb::gil_scoped_release release;
    std::fill_n(stream.data(), stream.size(), uint8_t(0));
    read_codes(engine.common(), step, stream.data(), watch);
}

void run(Builder& builder, const Bytes& times, nb::ndarray<int64_t, nb::c_contig, nb::device::cpu> logits,
         const nb::list& traces, int threads) {
    const Engine& engine = builder.engine;
    if (threads < 1 || threads > max_threads)
        throw std::invalid_argument("threads must be in 1..1024, not " + std::to_string(threads));
    engine.check_complete();
    const int64_t size = engine.input().size(), n = static_cast<int64_t>(times.size()) / size;
    if (static_cast<int64_t>(times.size()) != n * size) throw std::invalid_argument("times must hold whole images");
    if (static_cast<int64_t>(logits.size()) != n * engine.steps().back().out.size())
        throw std::invalid_argument("logits must fit the read-out");
    if (traces.size() != 0 && traces.size() + 1 != engine.steps().size())
        throw std::invalid_argument("traces must hold one array per layer before the read-out");
    std::vector<uint8_t*> pointers;
    for (size_t i = 0; i < traces.size(); ++i) {
        const auto trace = nb::cast<nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>>(traces[i], false);
        const Step& step = engine.steps()[i];
        if (static_cast<int64_t>(trace.size()) != (step.partial ? 0 : n * step.out.size()))
            throw std::invalid_argument("traces must fit their layers");
        pointers.push_back(trace.data());
    }
    builder.open = false;
    Watch watch = watch_signals();
    nb::gil_scoped_release release;
    engine.run(times.data(), n, logits.data(), pointers, threads, watch);
}

}  // namespace

void bind_engine(nb::module_& m) {
    nb::class_<Builder>(m, "Engine", "One network, ready to run. Shapes are (channels, height, width).")
        .def(nb::new_(&create), "input"_a, "T"_a, "weight_bits"_a, "accumulator_bits"_a, "instructions"_a, "path"_a)
        .def("add_synaptic", &add_synaptic, "source"_a, "in_shape"_a, "out_shape"_a, "stream"_a, "kernel"_a, "stride"_a, "padding"_a,
             "dilation"_a, "groups"_a, "fires"_a, "silence"_a, "spike_values"_a, "weights"_a, "bias"_a, "thresholds"_a, "identity"_a, "residuals"_a,
             "parts"_a, "partial"_a, "shifts"_a)
        .def(
            "add_pool",
            [](Builder& b, int source, const Triple& in, const Triple& out, Pair kernel, Pair stride, Pair padding) {
                open_engine(b).add_pool(source, shape(in), shape(out), geometry(in, out, kernel, stride, padding, {1, 1}));
            },
            "source"_a, "in_shape"_a, "out_shape"_a, "kernel"_a, "stride"_a, "padding"_a)
        .def(
            "add_flatten", [](Builder& b, int source, const Triple& in) { open_engine(b).add_flatten(source, shape(in)); },
            "source"_a, "in_shape"_a)
        .def(
            "add_shuffle",
            [](Builder& b, int source, const Triple& in, Pair factor) {
                open_engine(b).add_shuffle(source, shape(in), std::get<0>(factor), std::get<1>(factor));
            },
            "source"_a, "in_shape"_a, "factor"_a)
        .def(
            "add_channels",
            [](Builder& b, const nb::list& sources, const Triple& out, const nb::list& channels) {
                open_engine(b).add_channels(integers(sources), shape(out), integers(channels));
            },
            "sources"_a, "out_shape"_a, "channels"_a)
        .def("codes", &codes, "number"_a, "stream"_a, "Writes a layer's codes as they were given, packed.")
        .def("run", &run, "times"_a, "logits"_a, "traces"_a, "threads"_a)
        .def_prop_ro("instructions", [](const Builder& b) { return name(b.engine.common().isa); })
        .def_prop_ro(
            "matrices",
            [](const Builder& b) {
                const auto& steps = b.engine.steps();
                const auto on_bytes = [](const Step& s) { return s.kind == Step::Kind::matrix || s.matrix.apart; };
                return std::count_if(steps.begin(), steps.end(), on_bytes);
            },
            "Number of steps that run as matrices of bytes.")
        .def_prop_ro("weight_bytes", [](const Builder& b) { return b.engine.weight_bytes(); }, "Bytes of packed weight codes.");
}

}  // namespace firstspike
