// How runs of floats are merged: pure functions on bytes, each defined by its twin in lamella/model/merge_reference.py or
// lamella/model/elect_reference.py, to the last bit.
//
// Callers have checked every length. The numbers are the same on every machine: each is computed with as a double, no
// product is fused with a sum, and sums over elements are made in eight lanes, tile by tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "choice.hpp"
#include "elements.hpp"

namespace lamella {

// So many sides at most have their moves compared, all with all.
inline constexpr std::size_t kSides = 64;
inline constexpr std::size_t kMagnitudeBins = std::size_t{1} << 16;

// Runs of `count` elements each, of one dtype of floats.
struct Sides {
    std::span<const Bytes> data;
    const Element* element;
    std::size_t count;
};

struct Election {
    Bytes base;
    Sides sides;
    std::span<const double> weights;
    std::span<const float> thresholds;
    double scale;
    bool normalize;
};

// Counts of elements, `moved` one for each side, and the dot products of all moves with all, row-major.
struct Elected {
    std::span<std::uint64_t> moved;
    std::uint64_t either = 0, both = 0, clashes = 0, not_finite = 0;
    std::span<double> gram;
};

// Moves are made in tiles of so many elements; for the base and for each side they need room for so many numbers.
inline constexpr std::size_t kMoveTile = 256;
inline constexpr std::size_t kMoveRoom = 3 * kMoveTile;
// Sides are put in order in tiles of so many elements, each of which needs room for one number.
inline constexpr std::size_t kOrderTile = 1024;
// Magnitudes have no sign, so that half of the bins are enough; several counts are kept, of so many elements at most.
inline constexpr std::size_t kTurns = 4;
inline constexpr std::size_t kTurnBins = kMagnitudeBins / 2;
inline constexpr std::size_t kTurnsMost = std::size_t{1} << 31;

// Built once for each instruction set. `room` is aligned to 64 bytes; `turns`, which may be empty, are kTurns times kTurnBins
// zeros. An output overlaps no input. What is returned counts results that are not finite where sides differ.
struct MergePasses {
    std::string_view name;
    void (*encode)(Bytes doubles, const Element& element, std::size_t count, MutableBytes out) noexcept;
    std::uint64_t (*weighted_sum)(Sides sides, std::span<const double> weights, bool keep_equal,
                                  MutableBytes out) noexcept;
    std::uint64_t (*ordered_mean)(Sides sides, std::size_t dropped, std::int64_t* room,
                                  MutableBytes out) noexcept;
    void (*elect)(const Election& election, double* room, MutableBytes out, Elected& result) noexcept;
    void (*gram)(std::optional<Bytes> base, Sides sides, double* room, std::span<double> result) noexcept;
    void (*count_magnitudes)(std::optional<Bytes> base, Sides side, std::optional<std::uint32_t> prefix,
                             std::span<std::uint32_t> turns, std::span<std::uint64_t> counts) noexcept;
};

extern const MergePasses kMergeBaseline;
extern const MergePasses kMergeAvx2;
extern const MergePasses kMergeAvx512;

extern Choice<MergePasses> merge_choice;

}  // namespace lamella
