// Random runs of elements through the kernels that measure, for the sanitizers to watch: fuzz_measure SEED ROUNDS.
//
// Every buffer is a heap block of exactly its length, so that a byte read or written beside it is seen. All instruction
// sets have to say the same, to the last bit, and what they count has to add up.
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../measure.hpp"

namespace {

using namespace lamella;

constexpr const char* kNames[] = {
    "bool", "u8",   "i8", "u16", "i16", "u32", "i32", "u64",     "i64",     "f16",     "bf16",    "f32",     "f64",         "c64",
    "c128", "u4",   "i4", "u2",  "i2",  "f4_e2m1",    "f6_e2m3", "f6_e3m2", "f8_e4m3", "f8_e5m2", "f8_e8m0", "f8_e4m3fnuz",
    "f8_e5m2fnuz"};

// Each round has a generator of its own, so that one that fails can be had again alone: its number, and 1 round.
std::uint64_t current_round;

void tell_round() {
    std::fprintf(stderr, "fuzz_measure: in round %llu\n", static_cast<unsigned long long>(current_round));
}

void require(bool holds, const char* otherwise) {
    if (holds) return;
    std::fprintf(stderr, "fuzz_measure: %s\n", otherwise);
    tell_round();
    std::exit(1);
}

// A heap block of exactly `size` bytes; its beginning has any alignment.
class Exact {
   public:
    Exact(std::size_t size, std::size_t offset)
        : block_(std::make_unique<std::uint8_t[]>(size + offset)), offset_(offset), size_(size) {}
    [[nodiscard]] MutableBytes view() const { return {block_.get() + offset_, size_}; }

   private:
    std::unique_ptr<std::uint8_t[]> block_;
    std::size_t offset_;
    std::size_t size_;
};

class Fuzz {
   public:
    explicit Fuzz(std::uint64_t seed) : random_(seed) {}

    void round() {
        const Element& one = any_element();
        const Element& other = below(2) == 0 ? one : any_element();
        const std::size_t count = below(3) == 0 ? below(20) : below(5000);
        const Exact before = elements(one, count), after = elements(other, count);
        if (&one == &other && below(2) == 0) std::ranges::copy(before.view(), after.view().begin());
        for (std::uint64_t left = below(4); left != 0 && !after.view().empty(); --left)
            after.view()[below(after.view().size())] ^= static_cast<std::uint8_t>(1U << below(8));
        compare({before.view(), &one}, {after.view(), &other}, count);
    }

   private:
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

    const Element& any_element() { return *element_named(kNames[below(std::size(kNames))]); }

    // Noise; or elements of few different bytes, which are often infinite, NaN, zero or subnormal.
    Exact elements(const Element& element, std::size_t count) {
        Exact made(nbytes_of(element, count), below(9));
        const bool is_special = below(2) == 0;
        constexpr std::uint8_t kFew[] = {0, 0, 0x80, 0x7f, 0xff, 0x7c, 0xf0, 1};
        for (std::uint8_t& byte : made.view())
            byte = is_special ? kFew[below(std::size(kFew))] : static_cast<std::uint8_t>(random_());
        return made;
    }

    void compare(Run before, Run after, std::size_t count) {
        const std::size_t items = below(2000) + 1, begin = below(items);
        const std::size_t touched = count == 0 ? 0 : (begin + count - 1) / items + 1;
        const double epsilon = below(2) == 0 ? 0.0 : 1e-3;
        std::vector<std::uint8_t> first;
        for (const std::string_view name : measure_choice.names()) {
            measure_choice.use(name);
            const MeasurePasses& passes = measure_choice.passes();
            Measured measured;
            Surveyed surveyed;
            const auto rows = std::make_unique<double[]>(touched);
            const Exact values(count * sizeof(double), below(9));
            const auto bins = std::make_unique<std::uint64_t[]>(kBins);
            passes.measure(before, after, count, epsilon, {{rows.get(), touched}, items, begin}, measured);
            passes.survey(after, count, surveyed);
            passes.decode(after, count, values.view());
            passes.count_values(after, count, {bins.get(), kBins});
            check(before, after, count, measured, surveyed);
            std::vector<std::uint8_t> said;
            const auto say = [&said](const void* from, std::size_t nbytes) {
                const auto* bytes = static_cast<const std::uint8_t*>(from);
                said.insert(said.end(), bytes, bytes + nbytes);
            };
            say(&measured, sizeof measured);
            say(&surveyed, sizeof surveyed);
            say(rows.get(), touched * sizeof(double));
            say(bins.get(), kBins * sizeof(std::uint64_t));
            if (first.empty()) first = said;
            require(said == first, "instruction sets say different things");
        }
    }

    static void check(Run before, Run after, std::size_t count, const Measured& measured, const Surveyed& surveyed) {
        require(measured.finite + measured.both <= count && measured.changed <= count, "more is found than there is");
        require(measured.above <= measured.changed, "what moved did not change");
        std::uint64_t distances = 0;
        for (const std::uint64_t found : measured.ulps) distances += found;
        const bool has_units = coarser(*before.element, *after.element) != nullptr;
        require(distances == (has_units ? measured.finite : 0), "distances are missing");
        require(std::bit_width(measured.ulp_max) == 0 || measured.ulps[static_cast<std::size_t>(std::bit_width(measured.ulp_max))] != 0,
                "the largest distance is not counted");
        require(surveyed.minimum <= surveyed.maximum, "the extremes are not in order");
        require(surveyed.nan + surveyed.infinite + surveyed.zeros + surveyed.subnormal <= count, "values count twice");
    }

    std::mt19937_64 random_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: fuzz_measure SEED ROUNDS\n");
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
