// Makes allocations fail, for tests (LD_PRELOAD): those of operator new, which all C++ of the engine goes through.
//
// After faults_arm(n, many) the allocation after n others fails, and if `many` is not 0 all after it too.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> left{-1};  // allocations that still succeed; below 0: not armed, or over
std::atomic<bool> many_fail{false}, failing{false};
std::atomic<long> failures{0};

void* get(std::size_t size, std::size_t alignment) noexcept {
    const bool now = failing || (left >= 0 && left.fetch_sub(1) == 0);
    if (now) {
        failing = many_fail.load();
        ++failures;
        return nullptr;
    }
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment + alignment);
}

void* get_or_throw(std::size_t size, std::size_t alignment) {
    if (void* memory = get(size, alignment)) return memory;
    throw std::bad_alloc();
}

constexpr std::size_t usual = alignof(std::max_align_t);

}  // namespace

extern "C" void faults_arm(long n, int many) {
    many_fail = many != 0;
    failures = 0;
    left = n;
}

// How many allocations failed since faults_arm.
extern "C" long faults_disarm() {
    left = -1;
    failing = false;
    return failures;
}

void* operator new(std::size_t size) { return get_or_throw(size, usual); }
void* operator new[](std::size_t size) { return get_or_throw(size, usual); }
void* operator new(std::size_t size, std::align_val_t a) { return get_or_throw(size, std::size_t(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return get_or_throw(size, std::size_t(a)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return get(size, usual); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return get(size, usual); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
