// Making tables from what was counted.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "rans.hpp"

namespace lamella {

using Histogram = std::array<std::uint64_t, kSymbols>;

// Append frequencies in proportion to `histogram`, at least one for what occurs, with the sum kProbabilityTotal.
void append_frequencies(const Histogram& histogram, std::vector<std::uint16_t>& frequencies);

}  // namespace lamella
