// How runs are rounded, summed and ordered, tile by tile. Internal to what includes it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "float_tiles.hpp"
#include "merge.hpp"

namespace lamella {
namespace {

void encode_tiles(Bytes doubles, const Element& element, std::size_t count, MutableBytes out) noexcept {
    with_code(element, [&]<typename Code>(Code) {
        alignas(64) Doubles values;
        alignas(64) CodesOf<Code> codes;
        for (std::size_t first = 0; first < count; first += kTile) {
            const std::size_t taken = std::min(kTile, count - first);
            std::memcpy(values, doubles.data() + first * sizeof(double), taken * sizeof(double));
            narrow(element, values, taken, codes);
            store_codes(element, codes, first, taken, out);
        }
    });
}

// The codes of one side after another in a tile: those of the first, and where any other has others.
template <typename Code>
struct Compared {
    alignas(64) CodesOf<Code> kept;
    alignas(64) CodesOf<Code> differs;
    alignas(64) CodesOf<Code> codes;

    // Read side `number`, and its values too.
    void read(const Sides& sides, std::size_t number, std::size_t first, std::size_t count, double* values) {
        Code* to = number == 0 ? kept : codes;
        load_codes(*sides.element, sides.data[number], first, count, to);
        widen(*sides.element, to, count, values);
        if (number == 0) std::fill_n(differs, count, Code{0});
        for (std::size_t i = 0; i < count; ++i) differs[i] = static_cast<Code>(differs[i] | (kept[i] ^ to[i]));
    }

    // Put what all sides have alike into a result.
    void keep_alike(Code* found, std::size_t count) const {
        for (std::size_t i = 0; i < count; ++i) found[i] = differs[i] == 0 ? kept[i] : found[i];
    }
};

template <typename Code>
std::uint64_t weighted_sum_of(const Sides& sides, std::span<const double> weights, bool keep_equal, MutableBytes out) {
    alignas(64) Doubles values, total;
    alignas(64) CodesOf<Code> found;
    Compared<Code> compared;
    std::uint64_t not_finite = 0;
    for (std::size_t first = 0; first < sides.count; first += kTile) {
        const std::size_t taken = std::min(kTile, sides.count - first);
        for (std::size_t side = 0; side < sides.data.size(); ++side) {
            compared.read(sides, side, first, taken, values);
            const double weight = weights[side];
            if (side == 0) {
                for (std::size_t i = 0; i < taken; ++i) total[i] = weight * values[i];
            } else {
                for (std::size_t i = 0; i < taken; ++i) total[i] += weight * values[i];
            }
        }
        narrow(*sides.element, total, taken, found);
        if (keep_equal) compared.keep_alike(found, taken);
        not_finite += count_special(*sides.element, found, compared.differs, taken);
        store_codes(*sides.element, found, first, taken, out);
    }
    return not_finite;
}

std::uint64_t weighted_sum_tiles(Sides sides, std::span<const double> weights, bool keep_equal,
                                 MutableBytes out) noexcept {
    return with_code(*sides.element, [&]<typename Code>(Code) {
        return weighted_sum_of<Code>(sides, weights, keep_equal, out);
    });
}

// Doubles as integers of the same order, -0 before 0 and NaNs, which become one, last; and back.
inline void put_in_order(double* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto bits = std::bit_cast<std::uint64_t>(values[i]), size = bits & ~kSign;
        const std::uint64_t known = size > kInfinity ? 0x7ff8000000000000U : bits;
        values[i] = std::bit_cast<double>(known >> 63 != 0 ? known ^ ~kSign : known);
    }
}

inline double out_of_order(std::int64_t key) {
    const auto bits = static_cast<std::uint64_t>(key);
    return std::bit_cast<double>(key < 0 ? bits ^ ~kSign : bits);
}

inline void exchange(std::int64_t* __restrict low, std::int64_t* __restrict high, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::int64_t one = low[i], other = high[i];
        low[i] = one < other ? one : other;
        high[i] = one < other ? other : one;
    }
}

static_assert(kOrderTile == kTile);

// Sort rows of a tile against each other, element by element: merge exchange, Knuth's algorithm 5.2.2 M.
inline void sort_rows(std::int64_t* rows, std::size_t sides, std::size_t count) {
    if (sides < 2) return;
    const std::size_t top = std::bit_ceil(sides) / 2;
    for (std::size_t p = top; p > 0; p /= 2) {
        std::size_t rest = 0, distance = p;
        for (std::size_t q = top;; q /= 2) {
            for (std::size_t i = 0; i + distance < sides; ++i)
                if ((i & p) == rest) exchange(rows + i * kTile, rows + (i + distance) * kTile, count);
            if (q == p) break;
            distance = q - p;
            rest = p;
        }
    }
}

template <typename Code>
std::uint64_t ordered_mean_of(const Sides& sides, std::size_t dropped, std::int64_t* rows, MutableBytes out) {
    alignas(64) Doubles values;
    alignas(64) CodesOf<Code> found;
    Compared<Code> compared;
    const std::size_t kept = sides.data.size() - 2 * dropped;
    std::uint64_t not_finite = 0;
    for (std::size_t first = 0; first < sides.count; first += kTile) {
        const std::size_t taken = std::min(kTile, sides.count - first);
        for (std::size_t side = 0; side < sides.data.size(); ++side) {
            compared.read(sides, side, first, taken, values);
            put_in_order(values, taken);
            std::memcpy(rows + side * kTile, values, taken * sizeof(double));
        }
        sort_rows(rows, sides.data.size(), taken);
        for (std::size_t row = dropped; row < dropped + kept; ++row) {
            const std::int64_t* keys = rows + row * kTile;
            if (row == dropped) {
                for (std::size_t i = 0; i < taken; ++i) values[i] = out_of_order(keys[i]);
            } else {
                for (std::size_t i = 0; i < taken; ++i) values[i] += out_of_order(keys[i]);
            }
        }
        for (std::size_t i = 0; i < taken; ++i) values[i] /= static_cast<double>(kept);
        narrow(*sides.element, values, taken, found);
        compared.keep_alike(found, taken);
        not_finite += count_special(*sides.element, found, compared.differs, taken);
        store_codes(*sides.element, found, first, taken, out);
    }
    return not_finite;
}

std::uint64_t ordered_mean_tiles(Sides sides, std::size_t dropped, std::int64_t* room, MutableBytes out) noexcept {
    return with_code(*sides.element, [&]<typename Code>(Code) {
        return ordered_mean_of<Code>(sides, dropped, room, out);
    });
}

}  // namespace
}  // namespace lamella
