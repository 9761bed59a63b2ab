// The election of signs among sides, tile by tile. Internal to what includes it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "move_tiles.hpp"

namespace lamella {
namespace {

// The least double whose magnitude in f32 is not below a threshold: half-way from the number before, or just above where
// that is rounded down.
inline double least_kept(float threshold) {
    if (threshold == 0) return 0;
    const bool is_even = (std::bit_cast<std::uint32_t>(threshold) & 1U) == 0;
    const double before = std::nextafter(threshold, 0.0F);
    const double half = std::isinf(threshold) ? before + 0x1p103 : (before + static_cast<double>(threshold)) / 2;
    return is_even ? half : std::nextafter(half, std::numeric_limits<double>::infinity());
}

// What is counted in a tile, lane by lane; counts are negative, as masks are.
struct ElectionCounts {
    std::array<Mask, kSides> moved{};
    Mask either{}, both{}, clashes{};
};

// What became of a tile: numbers that were made, and where an element was taken instead its key; where anyone moved.
struct Made {
    alignas(64) double values[kMoveTile];
    alignas(64) double taken[kMoveTile];
    alignas(64) double keys[kMoveTile];
    alignas(64) double changed[kMoveTile];
};

class ElectionTiles {
   public:
    ElectionTiles(const Election& election, double* room)
        : election_(election), sides_(election.sides.data.size()), is_exact_(election.scale == 1 && election.normalize),
          tile_(election.base, election.sides, room) {
        for (std::size_t side = 0; side < sides_; ++side) limits_[side] = least_kept(election.thresholds[side]);
    }

    template <typename Code>
    void run(MutableBytes out, Elected& result) {
        for (std::size_t first = 0; first < election_.sides.count; first += kMoveTile) {
            tile_.read(first);
            counts_ = {};
            for (std::size_t i = 0; i < tile_.padded; i += kVectorLanes) elect_lanes(i);
            for (std::size_t side = 0; side < sides_; ++side) result.moved[side] += count_of(counts_.moved[side]);
            result.either += count_of(counts_.either);
            result.both += count_of(counts_.both);
            result.clashes += count_of(counts_.clashes);
            result.not_finite += write<Code>(first, out);
            add_gram(tile_, sides_, result.gram);
        }
        mirror(sides_, result.gram);
    }

   private:
    void elect_lanes(std::size_t i) {
        Vector pulls[kSides], total{};
        Mask heard[kSides], silent = ~Mask{}, movers{}, up{}, down{};
        for (std::size_t side = 0; side < sides_; ++side) {
            const Vector move = vector_at(tile_.moves(side) + i);
            const Mask moved = tile_.moved(side, i);
            const double weight = election_.weights[side];
            heard[side] = weight == 0 ? Mask{} : moved & ~(absolute(move) < limits_[side]);
            pulls[side] = where(heard[side], weight * move);
            total += pulls[side];
            silent &= pulls[side] == 0;
            counts_.moved[side] += moved;
            movers += moved;
            up |= move > 0;
            down |= move < 0;
        }
        counts_.either += movers < 0;
        counts_.both += movers < -1;
        counts_.clashes += up & down;
        put_at(made_.changed + i, as_vector(movers));
        choose(i, pulls, heard, total, silent | (total != total));
    }

    void choose(std::size_t i, const Vector* pulls, const Mask* heard, Vector total, Mask is_open) {
        const Mask rising = total > 0, falling = total < 0;
        Vector delta{}, weights{};
        Mask chosen_any{}, agreed = ~Mask{}, first{};
        for (std::size_t side = 0; side < sides_; ++side) {
            const Mask with_most = (rising & (pulls[side] > 0)) | (falling & (pulls[side] < 0));
            const Mask chosen = heard[side] & (is_open | with_most);
            const Mask key = mask_at(tile_.side(side).keys + i);
            delta += where(chosen, pulls[side]);
            weights += where(chosen, Vector{} + election_.weights[side]);
            first |= chosen & ~chosen_any & key;
            chosen_any |= chosen;
            agreed &= ~chosen | (key == first);
        }
        const Vector base = vector_at(tile_.base().values + i);
        const Mask kept = mask_at(tile_.base().keys + i);
        put_at(made_.values + i, base + election_.scale * (election_.normalize ? delta / weights : delta));
        put_at(made_.taken + i, as_vector(~chosen_any | (is_exact_ ? agreed : Mask{})));
        put_at(made_.keys + i, as_vector((chosen_any & first) | (~chosen_any & kept)));
    }

    // Keys are codes, which are taken as they are, or doubles, which are rounded to the codes that they came from.
    template <typename Code>
    std::uint64_t write(std::size_t first, MutableBytes out) {
        const Element& element = *election_.sides.element;
        alignas(64) Code codes[kMoveTile];
        if (!tile_.has_codes) {
            for (std::size_t i = 0; i < tile_.padded; i += kVectorLanes) {
                const Mask taken = mask_at(made_.taken + i);
                const Vector made = vector_at(made_.values + i), kept = vector_at(made_.keys + i);
                put_at(made_.values + i, as_vector((taken & as_mask(kept)) | (~taken & as_mask(made))));
            }
        }
        narrow(element, made_.values, tile_.count, codes);
        if (tile_.has_codes) {
            for (std::size_t i = 0; i < tile_.count; ++i)
                if (std::bit_cast<std::uint64_t>(made_.taken[i]) != 0)
                    codes[i] = static_cast<Code>(std::bit_cast<std::uint64_t>(made_.keys[i]));
        }
        store_codes(element, codes, first, tile_.count, out);
        std::uint64_t changed[kMoveTile];
        std::memcpy(changed, made_.changed, sizeof changed);
        return count_special(element, codes, changed, tile_.count);
    }

    const Election& election_;
    std::size_t sides_;
    bool is_exact_;
    MoveTile tile_;
    std::array<double, kSides> limits_;
    ElectionCounts counts_;
    Made made_;
};

void elect_tiles(const Election& election, double* room, MutableBytes out, Elected& result) noexcept {
    ElectionTiles tiles(election, room);
    with_code(*election.sides.element, [&]<typename Code>(Code) { tiles.run<Code>(out, result); });
}

}  // namespace
}  // namespace lamella
