// The moves of sides away from their base, tile by tile, their dot products and magnitudes. Internal to what includes it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "float_tiles.hpp"
#include "merge.hpp"

namespace lamella {
namespace {

inline Mask mask_at(const double* from) { return reinterpret_cast<Mask>(vector_at(from)); }
inline Vector as_vector(Mask mask) { return reinterpret_cast<Vector>(mask); }
inline Mask as_mask(Vector lanes) { return reinterpret_cast<Mask>(lanes); }
inline Vector where(Mask mask, Vector lanes) { return as_vector(mask & as_mask(lanes)); }
inline void put_at(double* to, Vector lanes) { std::memcpy(to, &lanes, sizeof lanes); }

// Elements as doubles, with keys that are the same where the elements are: the bits of the doubles themselves, or in a
// tile in which something is NaN the elements' codes.
struct Operand {
    double* values;
    double* codes;
    const double* keys;
};

// The base, if there is one, and all sides in one tile, the last lanes filled with zeros.
class MoveTile {
   public:
    MoveTile(std::optional<Bytes> base, const Sides& sides, double* room) : sides_(sides), base_(base) {
        for (std::size_t at = 0; at <= sides.data.size(); ++at, room += kMoveRoom) {
            operands_[at] = {room, room + kMoveTile, room};
            moves_[at] = room + 2 * kMoveTile;
        }
        if (!base_) std::fill_n(operands_[0].values, kMoveTile, 0.0);
    }

    void read(std::size_t first) {
        first_ = first;
        count = std::min(kMoveTile, sides_.count - first);
        padded = (count + kLanes - 1) / kLanes * kLanes;
        for (std::size_t at = from(); at <= sides_.data.size(); ++at) {
            Operand& operand = operands_[at];
            operand.keys = operand.values;
            read_elements(*sides_.element, data(at), first, count, operand.values);
            std::fill(operand.values + count, operand.values + padded, 0.0);
        }
        has_codes = false;
        subtract_all();
        if (!has_nan_) return;
        for (std::size_t at = from(); at <= sides_.data.size(); ++at) read_codes(at);
        has_codes = true;
        subtract_all();
    }

    const Operand& base() const { return operands_[0]; }
    const Operand& side(std::size_t number) const { return operands_[number + 1]; }
    double* moves(std::size_t side) const { return moves_[side + 1]; }

    Mask moved(std::size_t side, std::size_t i) const {
        return mask_at(base().keys + i) != mask_at(this->side(side).keys + i);
    }

    // Whether all moves are finite.
    bool is_finite() const { return !has_nan_ && largest_ < std::numeric_limits<double>::infinity(); }

    // Whether all, where elements differ, are numbers that a product with a tame weight neither loses nor lets overflow.
    bool is_plain() const { return is_finite() && largest_ < 0x1p200 && least_ > 0x1p-200; }

    std::size_t count = 0, padded = 0;
    bool has_codes = false;

   private:
    std::size_t from() const { return base_ ? 0 : 1; }
    Bytes data(std::size_t at) const { return at == 0 ? *base_ : sides_.data[at - 1]; }

    void read_codes(std::size_t at) {
        with_code(*sides_.element, [&]<typename Code>(Code) {
            Code codes[kMoveTile] = {};
            load_codes(*sides_.element, data(at), first_, count, codes);
            for (std::size_t i = 0; i < padded; ++i)
                operands_[at].codes[i] = std::bit_cast<double>(static_cast<std::uint64_t>(codes[i]));
            operands_[at].keys = operands_[at].codes;
        });
    }

    void subtract_all() {
        constexpr double kNone = std::numeric_limits<double>::infinity();
        Vector largest{}, least = Vector{} + kNone;
        Mask nan{};
        for (std::size_t side = 0; side < sides_.data.size(); ++side) {
            const double *before = base().values, *after = this->side(side).values;
            for (std::size_t i = 0; i < padded; i += kVectorLanes) {
                const Vector distance = vector_at(after + i) - vector_at(before + i);
                const Mask differs = base_ ? moved(side, i) : ~Mask{};
                const Vector move = where(differs, distance);
                const Vector size = absolute(move), counted = as_vector(as_mask(size) | (~differs & as_mask(Vector{} + kNone)));
                nan |= distance != distance;
                largest = larger(size, largest);
                least = counted < least ? counted : least;
                put_at(moves(side) + i, move);
            }
        }
        has_nan_ = count_of(nan) != 0;
        largest_ = largest_of(largest);
        least_ = -largest_of(-least);
    }

    const Sides& sides_;
    std::optional<Bytes> base_;
    std::array<Operand, kSides + 1> operands_;
    std::array<double*, kSides + 1> moves_;
    std::size_t first_ = 0;
    bool has_nan_ = false;
    double largest_ = 0, least_ = 0;
};

// Two dot products at once, of one row with two others: each has eight lanes, and one would wait for its own sums.
struct TwoProducts {
    Vector lanes[2][kLanes / kVectorLanes] = {};

    void add(const double* one, const double* other, const double* third, std::size_t padded) {
        for (std::size_t i = 0; i < padded; i += kLanes) {
            for (std::size_t part = 0; part < kLanes / kVectorLanes; ++part) {
                const Vector left = vector_at(one + i + part * kVectorLanes);
                lanes[0][part] += left * vector_at(other + i + part * kVectorLanes);
                lanes[1][part] += left * vector_at(third + i + part * kVectorLanes);
            }
        }
    }

    double sum(std::size_t which) const {
        Lanes all;
        for (std::size_t part = 0; part < kLanes / kVectorLanes; ++part) all.put(part * kVectorLanes, lanes[which][part]);
        return all.sum();
    }
};

// Add the products of moves, all with all, to the upper half of `gram`. What is not finite is 0 from now on.
inline void add_gram(const MoveTile& tile, std::size_t sides, std::span<double> gram) {
    for (std::size_t side = 0; side < sides && !tile.is_finite(); ++side)
        for (std::size_t i = 0; i < tile.padded; ++i)
            if (!is_finite(tile.moves(side)[i])) tile.moves(side)[i] = 0;
    for (std::size_t one = 0; one < sides; ++one) {
        for (std::size_t other = one; other < sides; other += 2) {
            const std::size_t third = std::min(other + 1, sides - 1);
            TwoProducts products;
            products.add(tile.moves(one), tile.moves(other), tile.moves(third), tile.padded);
            gram[one * sides + other] += products.sum(0);
            if (third != other) gram[one * sides + third] += products.sum(1);
        }
    }
}

inline void mirror(std::size_t sides, std::span<double> gram) {
    for (std::size_t one = 0; one < sides; ++one)
        for (std::size_t other = one + 1; other < sides; ++other) gram[other * sides + one] = gram[one * sides + other];
}

void gram_tiles(std::optional<Bytes> base, Sides sides, double* room, std::span<double> result) noexcept {
    MoveTile tile(base, sides, room);
    for (std::size_t first = 0; first < sides.count; first += kMoveTile) {
        tile.read(first);
        add_gram(tile, sides.data.size(), result);
    }
    mirror(sides.data.size(), result);
}

// The bits of magnitudes in f32, all NaNs as the largest.
inline void measure_moves(const MoveTile& tile, std::uint32_t* bits) {
    const double* moves = tile.moves(0);
    for (std::size_t i = 0; i < tile.count; ++i) {
        const std::uint32_t size = std::bit_cast<std::uint32_t>(static_cast<float>(moves[i])) & 0x7fffffffU;
        bits[i] = size > 0x7f800000U ? 0x7fc00000U : size;
    }
}

// Neighbours often count in the same place: they take turns among several counts.
inline void count_upper(const std::uint32_t* bits, std::size_t count, std::uint32_t* turns) {
    for (std::size_t i = 0; i < count; ++i) ++turns[i % kTurns * kTurnBins + (bits[i] >> 16)];
}

inline void add_turns(std::span<std::uint32_t> turns, std::span<std::uint64_t> counts) {
    for (std::size_t bin = 0; bin < kTurnBins; ++bin) {
        std::uint64_t total = 0;
        for (std::size_t turn = 0; turn < kTurns; ++turn) total += turns[turn * kTurnBins + bin];
        counts[bin] += total;
    }
    std::ranges::fill(turns, 0U);
}

void count_magnitude_tiles(std::optional<Bytes> base, Sides side, std::optional<std::uint32_t> prefix,
                           std::span<std::uint32_t> turns, std::span<std::uint64_t> counts) noexcept {
    alignas(64) double room[2 * kMoveRoom];
    alignas(64) std::uint32_t bits[kMoveTile];
    MoveTile tile(base, side, room);
    std::size_t counted = 0;
    for (std::size_t first = 0; first < side.count; first += kMoveTile) {
        tile.read(first);
        measure_moves(tile, bits);
        if (prefix) {
            for (std::size_t i = 0; i < tile.count; ++i)
                if (bits[i] >> 16 == *prefix) ++counts[bits[i] & 0xffffU];
        } else if (turns.empty()) {
            for (std::size_t i = 0; i < tile.count; ++i) ++counts[bits[i] >> 16];
        } else {
            if (counted + tile.count > kTurnsMost) add_turns(turns, counts), counted = 0;
            count_upper(bits, tile.count, turns.data());
            counted += tile.count;
        }
    }
    if (!turns.empty()) add_turns(turns, counts);
}

}  // namespace
}  // namespace lamella
