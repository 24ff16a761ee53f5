// The extension module firstspike._native.
#include <nanobind/nanobind.h>

#include "isa.hpp"

namespace firstspike {
void bind_activation(nanobind::module_& m);
void bind_engine(nanobind::module_& m);
}

NB_MODULE(_native, m) {
    m.doc() = "Compiled kernels: training activations and the native inference engine.";
    m.def(
        "instruction_sets",
        [] {
            nanobind::list names;
            for (auto isa : firstspike::available()) names.append(firstspike::name(isa));
            return names;
        },
        "Instruction sets this build and this processor share, the best last.");
    firstspike::bind_activation(m);
    firstspike::bind_engine(m);
}
