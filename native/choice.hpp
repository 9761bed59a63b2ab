// The choice among builds of the same functions for several instruction sets, made when the program runs.
#pragma once

#include <atomic>
#include <string_view>
#include <vector>

namespace lamella {

// `Passes` has a `name`. One that this machine cannot run, or that was not built, is left out.
template <typename Passes>
class Choice {
   public:
    Choice([[maybe_unused]] const Passes* avx512, [[maybe_unused]] const Passes* avx2, const Passes* baseline) {
#if defined(LAMELLA_X86)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
            __builtin_cpu_supports("avx512vbmi2"))
            available_.push_back(avx512);
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) available_.push_back(avx2);
#endif
        available_.push_back(baseline);
        chosen_ = available_.front();
    }

    // Those in use: the fastest that this machine can run.
    const Passes& passes() const noexcept { return *chosen_.load(std::memory_order_relaxed); }

    // The names of all that this machine can run, the fastest first.
    std::vector<std::string_view> names() const {
        std::vector<std::string_view> found;
        for (const Passes* passes : available_) found.push_back(passes->name);
        return found;
    }

    // Use others from now on, so that tests can compare all; return false where there are none of that name.
    bool use(std::string_view name) noexcept {
        for (const Passes* passes : available_) {
            if (passes->name != name) continue;
            chosen_.store(passes, std::memory_order_relaxed);
            return true;
        }
        return false;
    }

   private:
    std::vector<const Passes*> available_;
    std::atomic<const Passes*> chosen_;
};

}  // namespace lamella
