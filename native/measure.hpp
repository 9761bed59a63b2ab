// What one pass over one run of elements, or over two, says about them: pure functions on bytes, each defined by its
// twin in lamella/model/measure_reference.py.
//
// Callers have checked every length. The numbers are the same on every machine: sums are made in eight lanes, tile by
// tile, and products are rounded before they are added.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "choice.hpp"
#include "elements.hpp"

namespace lamella {

// Counts are of elements. `ulps[k]` counts the finite pairs whose distance has k bits.
struct Measured {
    std::uint64_t changed = 0, above = 0, finite = 0, both = 0;
    double sum_absolute = 0, max_absolute = 0, dot = 0, squares_before = 0, squares_after = 0, squares_difference = 0;
    std::uint64_t nan_before = 0, nan_after = 0, infinite_before = 0, infinite_after = 0, ulp_max = 0;
    std::array<std::uint64_t, 65> ulps{};
};

struct Surveyed {
    std::uint64_t nan = 0, infinite = 0, zeros = 0, subnormal = 0;
    double minimum = 0, maximum = 0, total = 0, squares = 0;
};

// Sums of |b - a| along rows of `items` elements each, of the first of which `begin` lie before the run. `sums` has one
// number for each row that the run touches, to which is added; it is empty where nobody asks.
struct Rows {
    std::span<double> sums;
    std::size_t items = 0;
    std::size_t begin = 0;
};

// Bins of values by the upper 16 bits of what they are in f32; all NaNs are in one.
inline constexpr std::size_t kBins = std::size_t{1} << 16;

struct Run {
    Bytes data;
    const Element* element;
};

// Built once for each instruction set. `decode` writes `count` doubles to where they have any alignment, and
// `count_values` adds to one of kBins for each value.
struct MeasurePasses {
    std::string_view name;
    void (*measure)(Run before, Run after, std::size_t count, double epsilon, Rows rows, Measured& result) noexcept;
    void (*survey)(Run run, std::size_t count, Surveyed& result) noexcept;
    void (*decode)(Run run, std::size_t count, MutableBytes out) noexcept;
    void (*count_values)(Run run, std::size_t count, std::span<std::uint64_t> counts) noexcept;
};

extern const MeasurePasses kMeasureBaseline;
extern const MeasurePasses kMeasureAvx2;
extern const MeasurePasses kMeasureAvx512;

extern Choice<MeasurePasses> measure_choice;

}  // namespace lamella
