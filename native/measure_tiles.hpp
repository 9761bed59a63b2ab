// How two runs are measured, tile by tile. Internal to what includes it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "element_tiles.hpp"
#include "measure.hpp"

namespace lamella {
namespace {

// Both sides of some elements, the rest of the last lanes filled with zeros.
struct Tile {
    alignas(64) Doubles before;
    alignas(64) Doubles after;
    alignas(64) Doubles difference;
    std::size_t count = 0;
    std::size_t padded = 0;
};

void fill(Tile& tile, Run before, Run after, std::size_t first) {
    read_elements(*before.element, before.data, first, tile.count, tile.before);
    read_elements(*after.element, after.data, first, tile.count, tile.after);
    tile.padded = (tile.count + kLanes - 1) / kLanes * kLanes;
    for (std::size_t i = tile.count; i < tile.padded; ++i) tile.before[i] = tile.after[i] = 0;
}

// Integers of 64 bits are subtracted as such, and the difference is rounded once.
template <typename Integer>
void subtract_integers(Tile& tile, Bytes before, Bytes after, std::size_t first) {
    for (std::size_t i = 0; i < tile.count; ++i) {
        Integer a, b;
        std::memcpy(&a, before.data() + (first + i) * sizeof a, sizeof a);
        std::memcpy(&b, after.data() + (first + i) * sizeof b, sizeof b);
        const auto forward = static_cast<double>(static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a));
        const auto backward = static_cast<double>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
        tile.difference[i] = b < a ? -backward : forward;
    }
    for (std::size_t i = tile.count; i < tile.padded; ++i) tile.difference[i] = 0;
}

void subtract(Tile& tile, Run before, Run after, std::size_t first) {
    const bool alike = before.element->reading == after.element->reading;
    if (alike && before.element->reading == Reading::kI64)
        return subtract_integers<std::int64_t>(tile, before.data, after.data, first);
    if (alike && before.element->reading == Reading::kU64)
        return subtract_integers<std::uint64_t>(tile, before.data, after.data, first);
    for (std::size_t i = 0; i < tile.padded; ++i) tile.difference[i] = tile.after[i] - tile.before[i];
}

// Count pairs of which one is no finite number, put zeros in their place, and return how many there are.
std::uint64_t set_special_aside(Tile& tile, Measured& result) {
    if (all_finite(tile.before, tile.count) && all_finite(tile.after, tile.count)) return 0;
    std::uint64_t special = 0;
    for (std::size_t i = 0; i < tile.count; ++i) {
        double& a = tile.before[i];
        double& b = tile.after[i];
        if (is_finite(a) && is_finite(b)) continue;
        const bool is_nan_before = a != a, is_nan_after = b != b, same = a == b || (is_nan_before && is_nan_after);
        result.nan_before += is_nan_before;
        result.nan_after += is_nan_after;
        result.infinite_before += !is_nan_before && !is_finite(a);
        result.infinite_after += !is_nan_after && !is_finite(b);
        (same ? result.both : result.changed) += 1;
        result.above += !same;
        ++special;
        a = b = 0;
    }
    return special;
}

void add_products(const Tile& tile, Measured& result) {
    Lanes dot, squares_before, squares_after;
    for (std::size_t lane = 0; lane < kLanes; lane += kVectorLanes) {
        Vector products{}, of_before{}, of_after{};
        for (std::size_t i = lane; i < tile.padded; i += kLanes) {
            const Vector a = vector_at(tile.before + i), b = vector_at(tile.after + i);
            products += a * b;
            of_before += a * a;
            of_after += b * b;
        }
        dot.put(lane, products);
        squares_before.put(lane, of_before);
        squares_after.put(lane, of_after);
    }
    result.dot += dot.sum();
    result.squares_before += squares_before.sum();
    result.squares_after += squares_after.sum();
}

void add_differences(const Tile& tile, double epsilon, Measured& result) {
    Lanes total, squares;
    for (std::size_t lane = 0; lane < kLanes; lane += kVectorLanes) {
        Vector sums{}, of_squares{}, largest{};
        Mask changed{}, above{};
        for (std::size_t i = lane; i < tile.padded; i += kLanes) {
            const Vector size = absolute(vector_at(tile.difference + i));
            sums += size;
            of_squares += size * size;
            largest = larger(size, largest);
            changed += size != 0;
            above += size > epsilon;
        }
        total.put(lane, sums);
        squares.put(lane, of_squares);
        result.max_absolute = std::max(result.max_absolute, largest_of(largest));
        result.changed += count_of(changed);
        result.above += count_of(above);
    }
    result.sum_absolute += total.sum();
    result.squares_difference += squares.sum();
}

double absolute_sum(const double* from, std::size_t count) {
    const std::size_t whole = count / kLanes * kLanes;
    Lanes total;
    for (std::size_t lane = 0; lane < kLanes; lane += kVectorLanes) {
        Vector sums{};
        for (std::size_t i = lane; i < whole; i += kLanes) sums += absolute(vector_at(from + i));
        total.put(lane, sums);
    }
    double rest = 0;
    for (std::size_t i = whole; i < count; ++i) rest += std::fabs(from[i]);
    return total.sum() + rest;
}

void add_rows(const Tile& tile, Rows& rows) {
    for (std::size_t i = 0; i < tile.count;) {
        const std::size_t taken = std::min(tile.count - i, rows.items - rows.begin);
        rows.sums.front() += absolute_sum(tile.difference + i, taken);
        i += taken;
        rows.begin += taken;
        if (rows.begin == rows.items) {
            rows.begin = 0;
            rows.sums = rows.sums.subspan(1);
        }
    }
}

// Where finite values lie among the values of a dtype, to the nearest of which they are rounded, ties to even.
struct Ruler {
    std::uint64_t smallest_normal;
    std::uint64_t rounding;
    std::uint64_t below_normal;
    double below;
    int shift;
    std::int64_t beyond;

    explicit Ruler(const Element& element)
        : smallest_normal(static_cast<std::uint64_t>(element.exponent + 1023) << 52),
          rounding((std::uint64_t{1} << (52 - element.mantissa)) / 2 - (element.mantissa < 52)),
          below_normal(static_cast<std::uint64_t>(element.exponent + 1022) << element.mantissa),
          below(std::bit_cast<double>(static_cast<std::uint64_t>(element.exponent - element.mantissa + 52 + 1023) << 52)),
          shift(52 - element.mantissa),
          beyond(element.largest + 1) {}

    std::int64_t ordinal(double value) const {
        const auto bits = std::bit_cast<std::uint64_t>(value), size = bits & ~kSign;
        // A subnormal number is a multiple of the smallest: a sum with 2**52 of it rounds to that.
        const double sum = std::bit_cast<double>(size) + below;
        const std::uint64_t subnormal = std::bit_cast<std::uint64_t>(sum) - std::bit_cast<std::uint64_t>(below);
        const std::uint64_t odd = shift == 0 ? 0 : size >> shift & 1;
        const std::uint64_t normal = ((size + rounding + odd) >> shift) - below_normal;
        const auto place = static_cast<std::int64_t>(size < smallest_normal ? subnormal : normal);
        const std::int64_t bounded = place < beyond ? place : beyond;
        return (bits & kSign) != 0 ? -bounded : bounded;
    }
};

using Distances = std::uint64_t[kTile];

// The distances of values of one dtype: the places are the bits themselves.
template <typename Bits>
void compare_bits(Run before, Run after, std::size_t first, std::size_t count, Distances& distances) {
    using Place = std::conditional_t<sizeof(Bits) == 2, std::int32_t, Bits>;
    using Size = std::make_unsigned_t<Place>;
    const auto place_at = [first](Bytes data, std::size_t i) {
        Bits bits;
        std::memcpy(&bits, data.data() + (first + i) * sizeof bits, sizeof bits);
        const Place place = bits, sign = place >> (8 * sizeof place - 1), size = place & std::numeric_limits<Bits>::max();
        return (size ^ sign) - sign;
    };
    for (std::size_t i = 0; i < count; ++i) {
        const Place a = place_at(before.data, i), b = place_at(after.data, i);
        const Size forward = static_cast<Size>(b) - static_cast<Size>(a);
        distances[i] = a < b ? forward : Size{0} - forward;
    }
}

void compare_values(const Tile& tile, const Element& units, Distances& distances) {
    const Ruler ruler(units);
    for (std::size_t i = 0; i < tile.count; ++i) {
        const std::int64_t a = ruler.ordinal(tile.before[i]), b = ruler.ordinal(tile.after[i]);
        const std::uint64_t forward = static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
        distances[i] = a < b ? forward : 0 - forward;
    }
}

// Count the distances of a tile, `aside` of whose pairs are zeros that do not count.
void add_distances(const Tile& tile, Run before, Run after, std::size_t first, std::uint64_t aside, Measured& result) {
    Distances distances;
    const Reading reading = before.element->reading;
    if (reading != after.element->reading || aside != 0 || before.element->bits < 16) {
        compare_values(tile, *coarser(*before.element, *after.element), distances);
    } else if (reading == Reading::kF64) {
        compare_bits<std::int64_t>(before, after, first, tile.count, distances);
    } else if (reading == Reading::kF32) {
        compare_bits<std::int32_t>(before, after, first, tile.count, distances);
    } else {
        compare_bits<std::int16_t>(before, after, first, tile.count, distances);
    }
    // Four histograms, since neighbours often count in the same place.
    std::uint32_t counts[4][65] = {};
    std::uint64_t largest = 0;
    for (std::size_t i = 0; i < tile.count; ++i) {
        largest = std::max(largest, distances[i]);
        // The number of bits, without a branch for zero that nothing predicts.
        ++counts[i % 4][static_cast<std::size_t>(std::bit_width(distances[i] | 1)) - (distances[i] == 0)];
    }
    for (std::size_t k = 0; k < 65; ++k) result.ulps[k] += counts[0][k] + counts[1][k] + counts[2][k] + counts[3][k];
    result.ulps[0] -= aside;
    result.ulp_max = std::max(result.ulp_max, largest);
}

void measure_tiles(Run before, Run after, std::size_t count, double epsilon, Rows rows, Measured& result) noexcept {
    const bool has_units = coarser(*before.element, *after.element) != nullptr;
    Tile tile;
    for (std::size_t first = 0; first < count; first += kTile) {
        tile.count = std::min(kTile, count - first);
        fill(tile, before, after, first);
        const std::uint64_t aside = set_special_aside(tile, result);
        subtract(tile, before, after, first);
        result.finite += tile.count - aside;
        const std::uint64_t changed = result.changed;
        add_products(tile, result);
        add_differences(tile, epsilon, result);
        if (has_units && result.changed == changed) {
            result.ulps[0] += tile.count - aside;
        } else if (has_units) {
            add_distances(tile, before, after, first, aside, result);
        }
        if (!rows.sums.empty()) add_rows(tile, rows);
    }
}

}  // namespace
}  // namespace lamella
