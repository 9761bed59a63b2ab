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

// What became of a tile: numbers that were made, and where an element was taken instead its key; where anyone moved.
struct Made {
    alignas(64) double values[kMoveTile];
    alignas(64) double taken[kMoveTile];
    alignas(64) double keys[kMoveTile];
    alignas(64) double changed[kMoveTile];
};

// How sums are divided by sums of weights. Two equal powers of 2 have powers of 2 as sums, and to multiply by what has
// the opposite exponent gives the same number, only sooner.
enum class Dividing : std::uint8_t { kNot, kByPowersOfTwo, kByAny };

inline bool is_power_of_two(double number) {
    constexpr std::uint64_t kMantissa = (std::uint64_t{1} << 52) - 1;
    return number > 0x1p-800 && number < 0x1p800 && (std::bit_cast<std::uint64_t>(number) & kMantissa) == 0;
}

inline Dividing dividing_of(const Election& election) {
    if (!election.normalize) return Dividing::kNot;
    const std::span<const double> weights = election.weights;
    const bool is_simple = weights.size() == 2 && weights[0] == weights[1] && is_power_of_two(weights[0]);
    return is_simple ? Dividing::kByPowersOfTwo : Dividing::kByAny;
}

inline Vector divided(Vector total, Vector by, Dividing how) {
    constexpr std::int64_t kTwoBiases = std::int64_t{2 * 1023} << 52;
    if (how == Dividing::kNot) return total;
    return how == Dividing::kByAny ? total / by : total * as_vector(kTwoBiases - as_mask(by));
}

// What the loop over a tile has at hand for one side, or for the base.
struct Seat {
    const double *values, *keys, *moves;
    Vector weight, limit;
};

// In a plain tile every number is finite and every move that is heard pulls, so that none is left undecided; most are,
// and take half the time. Few sides are so usual that the compiler unrolls what is done for each; any other number is 0.
template <bool kPlain, std::size_t kNumber>
class LaneElection {
   public:
    static constexpr std::size_t kMost = kNumber == 0 ? kSides : kNumber;

    LaneElection(const Election& election, const MoveTile& tile, const double* limits)
        : number_(kNumber == 0 ? election.sides.data.size() : kNumber), padded_(tile.padded), dividing_(dividing_of(election)),
          is_exact_(Mask{} - (election.scale == 1 && election.normalize)), scale_(Vector{} + election.scale),
          base_{tile.base().values, tile.base().keys, nullptr, {}, {}} {
        for (std::size_t side = 0; side < number_; ++side)
            seats_[side] = {tile.side(side).values, tile.side(side).keys, tile.moves(side),
                            Vector{} + election.weights[side], Vector{} + limits[side]};
    }

    void run(Made& made, Elected& result) {
        for (std::size_t i = 0; i < padded_; i += kVectorLanes) {
            hear(i, made);
            choose(i, made);
        }
        for (std::size_t side = 0; side < number_; ++side) result.moved[side] += count_of(moved_[side]);
        result.either += count_of(either_);
        result.both += count_of(both_);
        result.clashes += count_of(clashes_);
    }

   private:
    std::size_t number() const { return kNumber == 0 ? number_ : kNumber; }

    [[gnu::always_inline]] void hear(std::size_t i, Made& made) {
        const Mask kept = mask_at(base_.keys + i);
        Mask movers{};
        Vector up{}, down{};
        total_ = Vector{};
        open_ = ~Mask{};
        for (std::size_t side = 0; side < number(); ++side) {
            const Seat& seat = seats_[side];
            const Vector move = vector_at(seat.moves + i);
            const Mask moved = mask_at(seat.keys + i) != kept;
            heard_[side] = ~(absolute(move) < seat.limit);
            if constexpr (!kPlain) heard_[side] &= moved & (seat.weight != 0);
            pulls_[side] = where(heard_[side], seat.weight * move);
            total_ += pulls_[side];
            if constexpr (!kPlain) open_ &= pulls_[side] == 0;
            moved_[side] += moved;
            movers += moved;
            up = larger(move, up);
            down = larger(-move, down);
        }
        if constexpr (!kPlain) open_ |= total_ != total_;
        either_ += movers < 0;
        both_ += movers < -1;
        clashes_ += (up > 0) & (down > 0);
        put_at(made.changed + i, as_vector(movers));
    }

    [[gnu::always_inline]] void choose(std::size_t i, Made& made) {
        const Mask sign = as_mask(total_) & (Mask{} + static_cast<std::int64_t>(kSign)), is_decided = (total_ > 0) | (total_ < 0);
        Vector delta{}, weights{};
        Mask any{}, agreed = ~Mask{}, first{};
        for (std::size_t side = 0; side < number(); ++side) {
            const Seat& seat = seats_[side];
            Mask chosen = is_decided & (as_vector(as_mask(pulls_[side]) ^ sign) > 0);
            if constexpr (!kPlain) chosen |= heard_[side] & open_;
            const Mask key = mask_at(seat.keys + i);
            delta += where(chosen, pulls_[side]);
            weights += where(chosen, seat.weight);
            first |= chosen & ~any & key;
            any |= chosen;
            agreed &= ~chosen | (key == first);
        }
        const Vector made_here = vector_at(base_.values + i) + scale_ * divided(delta, weights, dividing_);
        put_at(made.values + i, made_here);
        put_at(made.taken + i, as_vector(~any | (is_exact_ & agreed)));
        put_at(made.keys + i, as_vector((any & first) | (~any & mask_at(base_.keys + i))));
    }

    std::size_t number_, padded_;
    Dividing dividing_;
    Mask is_exact_;
    Vector scale_;
    Seat base_;
    Seat seats_[kMost];
    Vector pulls_[kMost], total_;
    Mask heard_[kMost], open_;
    Mask moved_[kMost]{}, either_{}, both_{}, clashes_{};
};

class ElectionTiles {
   public:
    ElectionTiles(const Election& election, double* room)
        : election_(election), sides_(election.sides.data.size()), tile_(election.base, election.sides, room) {
        for (std::size_t side = 0; side < sides_; ++side) limits_[side] = least_kept(election.thresholds[side]);
    }

    template <typename Code>
    void run(MutableBytes out, Elected& result) {
        const bool is_tame = has_tame_weights();
        for (std::size_t first = 0; first < election_.sides.count; first += kMoveTile) {
            tile_.read(first);
            if (is_tame && tile_.is_plain()) elect_plain(result);
            else LaneElection<false, 0>(election_, tile_, limits_.data()).run(made_, result);
            result.not_finite += write<Code>(first, out);
            add_gram(tile_, sides_, result.gram);
        }
        mirror(sides_, result.gram);
    }

   private:
    // Whether no pull of a plain tile can be 0 or infinite.
    bool has_tame_weights() const {
        return std::ranges::all_of(election_.weights, [](double weight) {
            return weight == 0 || (std::fabs(weight) > 0x1p-800 && std::fabs(weight) < 0x1p800);
        });
    }

    void elect_plain(Elected& result) {
        switch (sides_) {
            case 2: return LaneElection<true, 2>(election_, tile_, limits_.data()).run(made_, result);
            case 3: return LaneElection<true, 3>(election_, tile_, limits_.data()).run(made_, result);
            default: return LaneElection<true, 0>(election_, tile_, limits_.data()).run(made_, result);
        }
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
        return count_special(element, codes, made_.changed, tile_.count);
    }

    const Election& election_;
    std::size_t sides_;
    MoveTile tile_;
    std::array<double, kSides> limits_;
    Made made_;
};

void elect_tiles(const Election& election, double* room, MutableBytes out, Elected& result) noexcept {
    ElectionTiles tiles(election, room);
    with_code(*election.sides.element, [&]<typename Code>(Code) { tiles.run<Code>(out, result); });
}

}  // namespace
}  // namespace lamella
