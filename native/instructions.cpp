#include "instructions.hpp"

#include <atomic>

namespace lamella {
namespace {

std::vector<const Passes*> available() {
    std::vector<const Passes*> found;
#if defined(LAMELLA_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2"))
        found.push_back(&kPassesAvx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) found.push_back(&kPassesAvx2);
#endif
    found.push_back(&kPassesBaseline);
    return found;
}

std::atomic<const Passes*>& chosen() {
    static std::atomic<const Passes*> passes{available().front()};
    return passes;
}

}  // namespace

const Passes& passes() noexcept { return *chosen().load(std::memory_order_relaxed); }

std::vector<std::string_view> instruction_sets() {
    std::vector<std::string_view> names;
    for (const Passes* passes : available()) names.push_back(passes->name);
    return names;
}

bool use_instruction_set(std::string_view name) {
    for (const Passes* passes : available()) {
        if (passes->name != name) continue;
        chosen().store(passes, std::memory_order_relaxed);
        return true;
    }
    return false;
}

}  // namespace lamella
