// Python bindings of the native engine. firstspike.engine.native checks shapes and types and speaks to the user.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>

#include "engine.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace firstspike {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Triple = std::tuple<int, int, int>;
using Pair = std::tuple<int, int>;

std::vector<int64_t> vector(const Integers& values) { return {values.data(), values.data() + values.size()}; }

Shape shape(const Triple& s) { return {std::get<0>(s), std::get<1>(s), std::get<2>(s)}; }

Geometry geometry(Shape in, Shape out, Pair kernel, Pair stride, Pair padding) {
    return {in.height, in.width, out.height, out.width, std::get<0>(kernel), std::get<1>(kernel),
            std::get<0>(stride), std::get<1>(stride), std::get<0>(padding), std::get<1>(padding)};
}

Path path(const std::string& name) {
    if (name == "auto") return Path::automatic;
    if (name == "event") return Path::event;
    if (name == "dense") return Path::dense;
    throw std::invalid_argument("path must be auto, event or dense, not '" + name + "'");
}

Engine* create(const Triple& input, int T, int weight_bits, int accumulator_bits, const Integers& kernel_values,
               const std::string& instructions, const std::string& path_name) {
    if (kernel_values.size() != 256) throw std::invalid_argument("kernel_values must hold 256 entries");
    return new Engine({choose(instructions), T, weight_bits, accumulator_bits, vector(kernel_values)}, shape(input), path(path_name));
}

void add_synaptic(Engine& engine, int source, const Triple& in, const Triple& out, const Bytes& stream, Pair kernel, Pair stride,
                  Pair padding, int groups, bool fires, const Integers& weights, const Integers& bias, const Integers& thresholds,
                  const Integers& identity, const std::vector<int>& residuals) {
    const Shape from = shape(in), to = shape(out);
    const Geometry g = geometry(from, to, kernel, stride, padding);
    const int64_t codes = int64_t(to.channels) * (from.channels / groups) * g.kernel_h * g.kernel_w;
    if (int64_t(stream.size()) != (codes * engine.common().weight_bits + 7) / 8)
        throw std::invalid_argument("stream must hold one code per weight");
    if (int64_t(bias.size()) != to.channels || int64_t(weights.size()) != int64_t(1) << engine.common().weight_bits || identity.size() != 256)
        throw std::invalid_argument("bias, weights and identity must have one entry per output, code and byte");
    engine.add_synaptic({source, from, to, g, groups, fires, stream.data(), vector(weights), vector(bias), vector(thresholds),
                         vector(identity), residuals});
}

void codes(const Engine& engine, size_t number, nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> stream) {
    if (number >= engine.steps().size() || engine.steps()[number].weights.empty())
        throw std::invalid_argument("number must be that of a layer with weights, not " + std::to_string(number));
    const Step& step = engine.steps()[number];
    if (int64_t(stream.size()) != stream_size(engine.common(), step)) throw std::invalid_argument("stream must hold one code per weight");
    std::fill_n(stream.data(), stream.size(), uint8_t(0));
    nb::gil_scoped_release release;
    read_codes(engine.common(), step, stream.data());
}

void run(const Engine& engine, const Bytes& times, nb::ndarray<int64_t, nb::c_contig, nb::device::cpu> logits,
         const std::vector<nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>>& traces, int threads) {
    if (threads < 1) throw std::invalid_argument("threads must be at least 1, not " + std::to_string(threads));
    if (engine.steps().empty()) throw std::invalid_argument("the engine must have a read-out");
    const int64_t n = static_cast<int64_t>(times.size()) / engine.input().size();
    if (int64_t(logits.size()) != n * engine.steps().back().out.size()) throw std::invalid_argument("logits must fit the read-out");
    if (!traces.empty() && traces.size() + 1 != engine.steps().size())
        throw std::invalid_argument("traces must hold one array per layer before the read-out");
    std::vector<uint8_t*> pointers;
    for (size_t i = 0; i < traces.size(); ++i) {
        if (int64_t(traces[i].size()) != n * engine.steps()[i].out.size()) throw std::invalid_argument("traces must fit their layers");
        pointers.push_back(traces[i].data());
    }
    nb::gil_scoped_release release;
    engine.run(times.data(), n, logits.data(), pointers, threads);
}

}  // namespace

void bind_engine(nb::module_& m) {
    nb::class_<Engine>(m, "Engine", "One network, ready to run. Shapes are (channels, height, width).")
        .def(nb::new_(&create), "input"_a, "T"_a, "weight_bits"_a, "accumulator_bits"_a, "kernel_values"_a, "instructions"_a, "path"_a)
        .def("add_synaptic", &add_synaptic, "source"_a, "in_shape"_a, "out_shape"_a, "stream"_a, "kernel"_a, "stride"_a, "padding"_a,
             "groups"_a, "fires"_a, "weights"_a, "bias"_a, "thresholds"_a, "identity"_a, "residuals"_a)
        .def(
            "add_pool",
            [](Engine& e, int source, Triple in, Triple out, Pair kernel, Pair stride, Pair padding) {
                e.add_pool(source, shape(in), shape(out), geometry(shape(in), shape(out), kernel, stride, padding));
            },
            "source"_a, "in_shape"_a, "out_shape"_a, "kernel"_a, "stride"_a, "padding"_a)
        .def("add_flatten", [](Engine& e, int source, Triple in) { e.add_flatten(source, shape(in)); }, "source"_a, "in_shape"_a)
        .def("codes", &codes, "number"_a, "stream"_a, "Writes a layer's codes as they were given, packed.")
        .def("run", &run, "times"_a, "logits"_a, "traces"_a, "threads"_a)
        .def_prop_ro("instructions", [](const Engine& e) { return std::string(name(e.common().isa)); })
        .def_prop_ro("weight_bytes", &Engine::weight_bytes, "Bytes of packed weight codes.");
}

}  // namespace firstspike
