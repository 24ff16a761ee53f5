#include "activation.hpp"
#include "kernels.hpp"

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
#endif

const ActivationKernels& activation_kernels(Isa isa) {
#ifdef FIRSTSPIKE_X86
    if (isa == Isa::avx512) return avx512::activation_table;
    if (isa == Isa::avx2) return avx2::activation_table;
#endif
    (void)isa;
    return portable::activation_table;
}

const Kernels& kernels(Isa isa) {
#ifdef FIRSTSPIKE_X86
    if (isa == Isa::avx512) return avx512::kernel_table;
    if (isa == Isa::avx2) return avx2::kernel_table;
#endif
    (void)isa;
    return portable::kernel_table;
}

}  // namespace firstspike
