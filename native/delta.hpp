// The conditional delta: a float chunk as integer differences to its base, coded under the size that they should have.
//
// An optimizer moves a weight by an amount that hardly depends on the weight, while one unit in the last place doubles
// with every exponent. So the scale of a block's update less the exponent of the base tells how large the difference
// is, in units in the last place, before it is read. docs/spec/codecs.md defines every bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels.hpp"
#include "rans.hpp"

namespace lamella {

inline constexpr std::size_t kBlockItems = 256;
inline constexpr std::size_t kMaxChunkItems = std::size_t{1} << 20;
// Classes below kFirstWide have their own statistics; of a wider one, low bits are taken off the difference until it
// has the size of one of the last two.
inline constexpr std::size_t kFirstWide = 24;
inline constexpr std::size_t kClasses = kFirstWide + 2;
static_assert(kFirstWide % 2 == 0 && kClasses <= kFlagContexts);
inline constexpr std::size_t kAllClasses = 128;
// With the bits that a code leaves apart, 18 at most, one load of 8 bytes has them all wherever they begin.
inline constexpr std::size_t kMostLowBits = 39;
// The class of a difference of one unit in the last place; two classes make an octave.
inline constexpr int kUnitClass = 16;

// The greatest code that a symbol has in its lowest six bits, kEscape aside.
inline constexpr std::uint8_t kMostCode = 61;

// The symbol of a block whose scale is that of the block before.
inline constexpr std::size_t kNoStep = 128;

// The symbol of a block that is the base's, in the table of the steps. Nothing else is coded of it.
inline constexpr std::uint8_t kSameBlock = 255;

// Sign, exponent and mantissa of an element, from its highest bit down.
enum class Layout : std::uint8_t { kBfloat16 = 1, kFloat16, kFloat32, kFloat64, kFloat8E4M3, kFloat8E5M2 };

// How often each symbol occurs in each class, and behind them the steps from one block's scale to the next.
using Counts = std::array<std::uint32_t, (kClasses + 1) * kSymbols>;

// The tables of an object. Classes share a context with their neighbours: that of a class is the number of `bounds`
// that do not exceed it. The steps of the scales have the last context.
struct DeltaModel {
    Layout layout;
    // How much larger in magnitude than its base an item is expected, in units of 2**-24; 0 for mantissas below 16 bits.
    std::int16_t growth;
    std::vector<std::uint8_t> bounds;
    // Clear for an item of a class whose symbol is 0.
    Flags stays;
    Tables tables;
    // That of each class.
    alignas(64) std::array<std::uint8_t, 64> contexts;
};

// The class that an item counts for, whose scale less exponent is `number`, and the low bits of its difference.
struct Folded {
    std::uint8_t number;
    std::uint8_t low_bits;
};

constexpr Folded folded(std::uint8_t number, std::size_t item_nbytes) noexcept {
    const auto most = static_cast<std::uint8_t>(8 * item_nbytes - 2 < kMostLowBits ? 8 * item_nbytes - 2 : kMostLowBits);
    const bool is_wide = number >= kFirstWide;
    const auto octaves = static_cast<std::uint8_t>(is_wide ? (number - kFirstWide) >> 1 : 0);
    return {static_cast<std::uint8_t>(is_wide ? kFirstWide | (number & 1) : number), octaves < most ? octaves : most};
}

DeltaModel make_delta_model(Layout layout, std::int16_t growth, std::vector<std::uint8_t> bounds,
                            std::span<const std::uint16_t> stays, std::span<const std::uint16_t> frequencies);

std::size_t item_nbytes_of(Layout layout) noexcept;

// Return the growth that suits `chunk` against `base` best.
std::int16_t fit_growth(Layout layout, Bytes chunk, Bytes base);

// Add what `chunk` against `base` would have coded to `counts`. Both hold at most kMaxChunkItems whole items.
void count_delta(Layout layout, std::int16_t growth, Bytes chunk, Bytes base, Counts& counts) noexcept;

// Where contexts begin, from the second up, how often a symbol is 0 in each class as a share of kFlagTotal, and the
// frequencies of the others in each context and of the steps of the scales behind them.
struct Fitted {
    std::vector<std::uint8_t> bounds;
    std::array<std::uint16_t, kClasses> stays;
    std::vector<std::uint16_t> frequencies;
};

// Merge classes into contexts, and make tables for them, that code what was counted in few bits.
Fitted fit_contexts(const Counts& counts);

// Return the length of the payload, which is in `out` unless it is longer than `out`.
std::size_t encode_delta(const DeltaModel& model, Bytes chunk, Bytes base, MutableBytes out);

// Fill `out` and return true, or return false where encode_delta cannot have made `payload`.
bool decode_delta(const DeltaModel& model, Bytes payload, Bytes base, MutableBytes out);

}  // namespace lamella
