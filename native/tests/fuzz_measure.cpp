// Random runs of elements through the kernels that measure, for the sanitizers to watch: fuzz_measure SEED ROUNDS.
//
// Every buffer is a heap block of exactly its length, so that a byte read or written beside it is seen. All instruction
// sets have to say the same, to the last bit, and what they count has to add up.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "../measure.hpp"
#include "fuzzing.hpp"

namespace {

using namespace lamella;

constexpr const char* kNames[] = {
    "bool", "u8",   "i8", "u16", "i16", "u32", "i32", "u64",     "i64",     "f16",     "bf16",    "f32",     "f64",         "c64",
    "c128", "u4",   "i4", "u2",  "i2",  "f4_e2m1",    "f6_e2m3", "f6_e3m2", "f8_e4m3", "f8_e5m2", "f8_e8m0", "f8_e4m3fnuz",
    "f8_e5m2fnuz"};

class Fuzz : Fuzzer {
   public:
    explicit Fuzz(std::uint64_t seed) : Fuzzer(seed) {}

    void round() {
        const Element& one = any_element();
        const Element& other = below(2) == 0 ? one : any_element();
        const std::size_t count = below(3) == 0 ? below(20) : below(5000);
        const Exact before = noise(nbytes_of(one, count)), after = noise(nbytes_of(other, count));
        if (&one == &other && below(2) == 0) std::ranges::copy(before.view(), after.view().begin());
        for (std::uint64_t left = below(4); left != 0 && !after.view().empty(); --left)
            after.view()[below(after.view().size())] ^= static_cast<std::uint8_t>(1U << below(8));
        compare({before.view(), &one}, {after.view(), &other}, count);
    }

   private:
    const Element& any_element() { return *element_named(kNames[below(std::size(kNames))]); }

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

};

}  // namespace

int main(int count, char** arguments) {
    return fuzz_rounds<Fuzz>("fuzz_measure", count, arguments);
}
