#include "rans.hpp"

#include <bit>

namespace lamella {

Tables::Tables(std::span<const std::uint16_t> frequencies) {
    const std::size_t contexts = frequencies.size() / kSymbols;
    pushed_.reserve(frequencies.size());
    popped_.reserve(contexts * kProbabilityTotal);
    for (std::size_t context = 0; context < contexts; ++context) {
        std::uint32_t start = 0;
        for (std::uint32_t symbol = 0; symbol < kSymbols; ++symbol) {
            const std::uint32_t frequency = frequencies[context * kSymbols + symbol];
            std::uint64_t entry = 0;
            if (frequency != 0)
                entry = frequency | start << 16 | std::uint64_t{std::bit_cast<std::uint32_t>(inverse_of(frequency))} << 32;
            pushed_.push_back(entry);
            for (std::uint32_t i = 0; i < frequency; ++i) popped_.push_back(symbol | frequency << 8 | i << 20);
            start += frequency;
        }
    }
}

}  // namespace lamella
