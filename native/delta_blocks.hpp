// A block of floats and what is expected of it, for the instruction set that the including file is built for. Loops over
// a block have a constant length, for the compiler to vectorise.
#pragma once

#include <bit>
#include <cstring>

#include "delta.hpp"
#include "marks.hpp"

namespace lamella {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr int kMostClass = kAllClasses - 1;
// That of a zero, which tells nothing of its update: what was pruned stays, and is expected to. Above every scale.
constexpr int kNoExponent = 1 << 13;

// A symbol is a code, the sign of the difference and whether the item's own sign changed. Codes below kExactCodes are
// the size of the difference; then two codes make an octave, and the bits below their leading two stand apart.
constexpr std::uint8_t kExactCodes = 32;
constexpr std::uint8_t kCodeMask = 63;
constexpr int kNegativeBit = 6;
constexpr int kFlipBit = 7;

// `Signed` holds every difference of two magnitudes, `Sum` the exponents of a block in units of 2**-13.
template <class UnsignedItem, class SignedItem, class SumOfBlock, int kExponentBits, int kMantissa>
struct Float {
    using Item = UnsignedItem;
    using Signed = SignedItem;
    using Sum = SumOfBlock;
    static constexpr int kBits = 8 * sizeof(Item);
    static constexpr int kMantissaBits = kMantissa;
    static constexpr Item kSign = static_cast<Item>(Item{1} << (kBits - 1));
    static constexpr Item kMagnitude = static_cast<Item>(kSign - 1);
    static constexpr bool kGrows = kMantissaBits >= 16;
    static_assert(1 + kExponentBits + kMantissaBits == kBits);
};

constexpr int at_least(int value, int least) noexcept { return value < least ? least : value; }
constexpr int at_most(int value, int most) noexcept { return value > most ? most : value; }

template <class F>
int exponent(typename F::Item item) noexcept {
    const auto magnitude = static_cast<typename F::Item>(item & F::kMagnitude);
    return magnitude == 0 ? kNoExponent : at_least(static_cast<int>(magnitude >> F::kMantissaBits), 1);
}

// The magnitude that is expected of an item, in the ways of integers that wrap around.
template <class F>
typename F::Item predicted(typename F::Item base, std::int16_t growth) noexcept {
    const auto magnitude = static_cast<typename F::Item>(base & F::kMagnitude);
    if constexpr (F::kGrows) {
        using Signed = typename F::Signed;
        constexpr int kKept = F::kBits / 2;
        const typename F::Item hidden = typename F::Item{1} << F::kMantissaBits;
        const auto mantissa = static_cast<Signed>(((magnitude & (hidden - 1)) | hidden) >> (F::kMantissaBits + 1 - kKept));
        const Signed grown = (mantissa * growth) >> (23 - F::kMantissaBits + kKept);
        return magnitude == 0 ? 0 : (magnitude + static_cast<typename F::Item>(grown)) & F::kMagnitude;
    } else {
        return magnitude;
    }
}

// Items anywhere in memory.
template <class Item>
using Unaligned [[gnu::aligned(1), gnu::may_alias]] = Item;

// Return the items of a block, in `room` with zeros behind them where there are fewer than a block has.
template <class Item>
const Unaligned<Item>* block_of(const std::uint8_t* from, std::size_t count, Item* room) noexcept {
    if (count == kBlockItems) return reinterpret_cast<const Unaligned<Item>*>(from);
    std::memset(room, 0, kBlockItems * sizeof(Item));
    std::memcpy(room, from, count * sizeof(Item));
    return room;
}

// Replace each of the classes by its context, and whatever is up to 63 bytes behind the last.
inline void look_up(const std::array<std::uint8_t, 64>& contexts, std::uint8_t* classes, std::size_t count) noexcept {
#if defined(__AVX512VBMI__)
    const __m512i table = _mm512_load_si512(contexts.data());
    for (std::size_t at = 0; at < count; at += 64)
        _mm512_storeu_si512(classes + at, _mm512_permutexvar_epi8(_mm512_loadu_si512(classes + at), table));
#else
    for (std::size_t i = 0; i < count; ++i) classes[i] = contexts[classes[i]];
#endif
}

// A block of the base, and what is known of its items before they are read.
template <class F>
struct Block {
    using Item = typename F::Item;

    const Unaligned<Item>* base;
    alignas(64) Item room[kBlockItems];
    alignas(64) Item expected[kBlockItems];
    // The class that each item counts for, and the bits that are taken off its difference.
    alignas(64) std::uint8_t classes[kBlockItems];
    alignas(64) std::uint8_t low_bits[kBlockItems];

    void load(const std::uint8_t* from, std::size_t count, std::int16_t growth) noexcept {
        const auto* const items = block_of(from, count, room);
        for (std::size_t i = 0; i < kBlockItems; ++i) expected[i] = predicted<F>(items[i], growth);
        base = items;
    }

    typename F::Signed difference(std::size_t i, Item item) const noexcept {
        return static_cast<typename F::Signed>(static_cast<typename F::Signed>(item & F::kMagnitude) -
                                               static_cast<typename F::Signed>(expected[i]));
    }

    // Find the class of every item.
    void classify(int scale) noexcept {
        const auto start = static_cast<std::int16_t>(at_least(at_most(scale, 8000), -8000));
        const auto* const items = base;
        for (std::size_t i = 0; i < kBlockItems; ++i) {
            auto found = static_cast<std::int16_t>(start - 2 * exponent<F>(items[i]));
            found = found < 0 ? std::int16_t{0} : found;
            found = found > kMostClass ? std::int16_t{kMostClass} : found;
            classes[i] = static_cast<std::uint8_t>(found);
        }
        for (std::size_t i = 0; i < kBlockItems; ++i) {
            const auto [number, low] = folded(classes[i], sizeof(Item));
            classes[i] = number;
            low_bits[i] = low;
        }
    }
};

// Twice the mean of log2(|difference| + 1/2) + exponent, with kUnitClass added; log2 as a float's bits tell it. Where
// all of the base is zeros, the scale is that before.
template <class F>
int scale_of(const Block<F>& block, const Unaligned<typename F::Item>* chunk, std::size_t count,
             int before) noexcept {
    const auto* const base = block.base;
    typename F::Sum sum = 0;
    std::int32_t counted = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const auto found = block.difference(i, chunk[i]);
        const float size = static_cast<float>(found < 0 ? -found : found) + 0.5F;
        const int logarithm = (std::bit_cast<std::int32_t>(size) - (127 << 23)) >> 10;
        const auto magnitude = static_cast<typename F::Item>(base[i] & F::kMagnitude);
        const int is_counted = magnitude != 0 ? -1 : 0;
        sum += (logarithm + (at_least(static_cast<int>(magnitude >> F::kMantissaBits), 1) << 13)) & is_counted;
        counted -= is_counted;
    }
    if (counted == 0) return before;
    const auto unit = static_cast<std::int64_t>(counted) << 12;
    return static_cast<int>((static_cast<std::int64_t>(sum) + unit / 2) / unit) + kUnitClass;
}

// The bits that stand apart of a symbol, beside the low bits of its item.
constexpr unsigned bits_apart(unsigned code) noexcept { return code < kExactCodes ? 0 : 4 + (code - kExactCodes) / 2; }

// Find the symbols of a block. `take(i, symbol, bits, count)` is asked for items with bits that stand apart, in order;
// where it returns false, the item is an escape.
template <class F, class Take>
void find_symbols(const Block<F>& block, const Unaligned<typename F::Item>* chunk, std::size_t count, std::uint8_t* symbols,
                  Take&& take) noexcept {
    using Signed = typename F::Signed;
    using Item = typename F::Item;
    alignas(64) Item sizes[kBlockItems];
    alignas(64) std::uint8_t is_wide[kBlockItems];
    const auto* const base = block.base;
    for (std::size_t i = 0; i < kBlockItems; ++i) {
        const Signed found = block.difference(i, chunk[i]);
        sizes[i] = static_cast<Item>(found ^ (found < 0 ? Signed{-1} : Signed{0}));
        const auto flip = static_cast<std::uint8_t>((chunk[i] ^ base[i]) >> (F::kBits - 1) << kFlipBit);
        const auto negative = static_cast<std::uint8_t>(found < 0 ? 1 << kNegativeBit : 0);
        symbols[i] = static_cast<std::uint8_t>((static_cast<std::uint8_t>(sizes[i]) & kCodeMask) | negative | flip);
        is_wide[i] = static_cast<std::uint8_t>(block.low_bits[i] | (sizes[i] >= kExactCodes ? 1 : 0));
    }
    Marks wide;
    find_nonzero(is_wide, count, wide.data());
    visit_each(wide.data(), [&](std::size_t i) {
        const std::uint64_t size = sizes[i];
        const unsigned low = block.low_bits[i];
        const std::uint64_t high = size >> low;
        const auto octave = static_cast<unsigned>(std::bit_width(high | 1));
        const bool is_exact = high < kExactCodes;
        const unsigned apart = is_exact ? 0 : octave - 2;
        const std::uint64_t code = is_exact ? high : kExactCodes + 2 * (octave - 6) + (high >> apart & 1);
        const unsigned bits = low + apart;
        const auto symbol = static_cast<std::uint8_t>((symbols[i] & ~kCodeMask) | (code & kCodeMask));
        const bool is_taken = code <= kMostCode && take(i, symbol, size & ((std::uint64_t{1} << bits) - 1), bits);
        symbols[i] = is_taken ? symbol : kEscape;
        return true;
    });
}

}  // namespace
}  // namespace lamella
