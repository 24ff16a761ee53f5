#include "isa.hpp"

#include <stdexcept>

#if defined(FIRSTSPIKE_X86) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace firstspike {
namespace {

// Whether the processor has tiles of 8-bit integers, and the system lends their registers to this process: it has to be asked
// once (Linux, Documentation/arch/x86/xstate.rst), and answers the same to all threads and children.
bool has_tiles() {
#if defined(FIRSTSPIKE_X86) && defined(__linux__)
    constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
    constexpr long request_permission = 0x1023, tile_data = 18;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tile) == 0 || (d & int8) == 0) return false;
    static const bool lent = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return lent;
#else
    return false;
#endif
}

}  // namespace

std::vector<Isa> available() {
    std::vector<Isa> sets{Isa::portable};
#ifdef FIRSTSPIKE_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni")) {
        sets.push_back(Isa::avx512);
        if (has_tiles()) sets.push_back(Isa::amx);
    }
#endif
    return sets;
}

const char* name(Isa isa) {
    switch (isa) {
        case Isa::amx: return "amx";
        case Isa::avx512: return "avx512";
        case Isa::avx2: return "avx2";
        default: return "portable";
    }
}

Isa choose(const std::string& wanted) {
    const auto sets = available();
    if (wanted == "auto") return sets.back();
    std::string names;
    for (Isa isa : sets) {
        if (wanted == name(isa)) return isa;
        names += std::string(names.empty() ? "" : ", ") + name(isa);
    }
    throw std::invalid_argument("instruction set must be auto or one of " + names + ", not '" + wanted + "'");
}

}  // namespace firstspike
