#include "fit.hpp"

#include <algorithm>

namespace lamella {

void append_frequencies(const Histogram& histogram, std::vector<std::uint16_t>& frequencies) {
    std::uint64_t total = 0;
    for (const std::uint64_t count : histogram) total += count;
    std::array<std::uint32_t, kSymbols> shares{};
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < kSymbols; ++i) {
        if (histogram[i] == 0) continue;
        shares[i] = std::max(1U, static_cast<std::uint32_t>(histogram[i] * kProbabilityTotal / total));
        sum += shares[i];
    }
    while (sum != kProbabilityTotal) {
        std::uint32_t& largest = *std::ranges::max_element(shares);
        if (sum < kProbabilityTotal) {
            largest += kProbabilityTotal - sum;
            break;
        }
        const std::uint32_t taken = std::min(sum - kProbabilityTotal, largest / 2);
        largest -= taken;
        sum -= taken;
    }
    for (const std::uint32_t share : shares) frequencies.push_back(static_cast<std::uint16_t>(share));
}

}  // namespace lamella
