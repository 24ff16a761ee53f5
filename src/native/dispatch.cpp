#include "activation.hpp"
#include "kernels.hpp"
#include "matrix.hpp"

namespace firstspike {

namespace portable {
extern const ActivationKernels activation_table;
extern const Kernels kernel_table;
}
#ifdef FIRSTSPIKE_X86
namespace avx2 {
extern const ActivationKernels activation_table;
extern const Kernels kernel_table;
}
namespace avx512 {
extern const ActivationKernels activation_table;
extern const Kernels kernel_table;
}
namespace amx {
extern const MatrixKernels matrix_table;
}
#endif

const ActivationKernels& activation_kernels(Isa isa) {
#ifdef FIRSTSPIKE_X86
    if (isa == Isa::avx512 || isa == Isa::amx) return avx512::activation_table;
    if (isa == Isa::avx2) return avx2::activation_table;
#endif
    (void)isa;
    return portable::activation_table;
}

const Kernels& kernels(Isa isa) {
#ifdef FIRSTSPIKE_X86
    if (isa == Isa::avx512 || isa == Isa::amx) return avx512::kernel_table;
    if (isa == Isa::avx2) return avx2::kernel_table;
#endif
    (void)isa;
    return portable::kernel_table;
}

#ifdef FIRSTSPIKE_X86
const MatrixKernels* matrix_kernels(Isa isa) { return isa == Isa::amx ? &amx::matrix_table : nullptr; }
#else
const MatrixKernels* matrix_kernels(Isa) { return nullptr; }
#endif

}  // namespace firstspike
