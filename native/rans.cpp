#include "rans.hpp"

#include <bit>

namespace lamella {
namespace {

constexpr std::array<std::uint32_t, kProbabilityTotal> reciprocals() {
    std::array<std::uint32_t, kProbabilityTotal> found{0, ~0U};
    for (std::uint32_t frequency = 2; frequency < kProbabilityTotal; ++frequency) {
        const std::uint64_t scaled = std::uint64_t{1} << (31 + std::bit_width(frequency - 1));
        found[frequency] = static_cast<std::uint32_t>((scaled + frequency - 1) / frequency);
    }
    return found;
}

}  // namespace

constinit const std::array<std::uint32_t, kProbabilityTotal> kReciprocals = reciprocals();

Tables::Tables(std::span<const std::uint16_t> frequencies) {
    const std::size_t contexts = frequencies.size() / kSymbols;
    pushed_.reserve(frequencies.size());
    popped_.reserve(contexts * kProbabilityTotal);
    for (std::size_t context = 0; context < contexts; ++context) {
        std::uint32_t start = 0;
        for (std::uint32_t symbol = 0; symbol < kSymbols; ++symbol) {
            const std::uint32_t frequency = frequencies[context * kSymbols + symbol];
            pushed_.push_back(frequency | start << 16);
            for (std::uint32_t i = 0; i < frequency; ++i) popped_.push_back(symbol | frequency << 8 | i << 20);
            start += frequency;
        }
    }
}

}  // namespace lamella
