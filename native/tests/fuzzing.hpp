// What the fuzzers are made of: buffers of exact lengths, complaints that say which round it was, and a loop of rounds.
#pragma once

#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <random>

#include "../kernels.hpp"

namespace lamella {
namespace {

const char* fuzzer;
// Each round has a generator of its own, so that one that fails can be had again alone: its number, and 1 round.
std::uint64_t current_round;

void tell_round() {
    std::fprintf(stderr, "%s: in round %llu\n", fuzzer, static_cast<unsigned long long>(current_round));
}

void require(bool holds, const char* otherwise) {
    if (holds) return;
    std::fprintf(stderr, "%s: %s\n", fuzzer, otherwise);
    tell_round();
    std::exit(1);
}

// A heap block of exactly `size` bytes; its beginning has any alignment.
class Exact {
   public:
    explicit Exact(std::size_t size, std::size_t offset = 0)
        : block_(std::make_unique<std::uint8_t[]>(size + offset)), offset_(offset), size_(size) {}
    Exact(Bytes bytes, std::size_t offset) : Exact(bytes.size(), offset) {
        std::copy(bytes.begin(), bytes.end(), view().begin());
    }
    [[nodiscard]] MutableBytes view() const { return {block_.get() + offset_, size_}; }

   private:
    std::unique_ptr<std::uint8_t[]> block_;
    std::size_t offset_;
    std::size_t size_;
};

// The chances of one round.
class Fuzzer {
   protected:
    explicit Fuzzer(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

    // Noise; or few different bytes, which as elements are often infinite, NaN, zero or subnormal.
    Exact noise(std::size_t nbytes) {
        Exact made(nbytes, below(9));
        const bool is_special = below(2) == 0;
        constexpr std::uint8_t kFew[] = {0, 0, 0x80, 0x7f, 0xff, 0x7c, 0xf0, 1};
        for (std::uint8_t& byte : made.view())
            byte = is_special ? kFew[below(std::size(kFew))] : static_cast<std::uint8_t>(random_());
        return made;
    }

    std::mt19937_64 random_;
};

// Run the rounds that the arguments of a program called `name` ask for; return its exit status.
template <typename Fuzz>
int fuzz_rounds(const char* name, int count, char** arguments) {
    fuzzer = name;
    if (count != 3) {
        std::fprintf(stderr, "usage: %s SEED ROUNDS\n", fuzzer);
        return 2;
    }
    __sanitizer_set_death_callback(&tell_round);
    const std::uint64_t seed = std::strtoull(arguments[1], nullptr, 10);
    const std::uint64_t rounds = std::strtoull(arguments[2], nullptr, 10);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        current_round = seed + round;
        Fuzz(current_round).round();
    }
    return 0;
}

}  // namespace
}  // namespace lamella
