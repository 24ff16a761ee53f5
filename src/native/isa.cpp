#include "isa.hpp"

#include <stdexcept>

namespace firstspike {

std::vector<Isa> available() {
    std::vector<Isa> sets{Isa::portable};
#ifdef FIRSTSPIKE_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni"))
        sets.push_back(Isa::avx512);
#endif
    return sets;
}

const char* name(Isa isa) {
    switch (isa) {
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
