#include "signals.hpp"

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace firstspike {

Watch watch_signals() {
    const nb::object main = nb::module_::import_("threading").attr("main_thread")().attr("ident");
    if (!nb::int_(PyThread_get_thread_ident()).equal(main)) return Watch();
    return Watch([] {
        const nb::gil_scoped_acquire held;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
    });
}

}  // namespace firstspike
