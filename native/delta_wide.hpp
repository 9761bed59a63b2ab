// From the symbols of a block to its items, with the bits of wide ones that stand apart, for the instruction set that the
// including file is built for.
#pragma once

#include <cstring>
#include <utility>

#include "delta_blocks.hpp"
#include "payload.hpp"

namespace lamella {
namespace {

// What a decoder has left of the parts of a payload.
struct Remaining {
    const std::uint8_t* low_bits;
    std::uint64_t bit;
    std::uint64_t bits;
    const std::uint8_t* escape;
    const std::uint8_t* escapes_end;
    bool has_met_escape;
};

constexpr std::size_t kWideGroup = 16;
// For fewer, the vectors are not worth it.
constexpr std::size_t kLeastGroup = 10;

// Read the size of one wide item, which is no escape.
inline std::uint64_t read_size(std::uint8_t symbol, std::uint8_t low_bits, Remaining& remaining) noexcept {
    const unsigned code = symbol & kCodeMask, bits = low_bits + bits_apart(code);
    const std::uint64_t high = code < kExactCodes ? code : 2 + (code & 1);
    // Up to 8 bytes ahead are within the payload.
    std::uint64_t window;
    std::memcpy(&window, remaining.low_bits + remaining.bit / 8, 8);
    window = window >> (remaining.bit % 8) & ((std::uint64_t{1} << bits) - 1);
    remaining.bit += bits;
    return high << bits | window;
}

#if defined(LAMELLA_VECTOR_LANES)

// Read the sizes of `count` items, up to 16 of them; return false, having read nothing, where one has too many bits.
inline bool read_sizes(const std::uint8_t* symbols, const std::uint8_t* low_bits, std::size_t count,
                       Remaining& remaining, __m512i& sizes) noexcept {
    const auto lanes = static_cast<__mmask16>((1U << count) - 1);
    const __m512i one = _mm512_set1_epi32(1), zero = _mm512_setzero_si512();
    const __m512i code = _mm512_and_si512(widened(symbols), _mm512_set1_epi32(kCodeMask));
    const __mmask16 inexact = _mm512_cmpge_epu32_mask(code, _mm512_set1_epi32(kExactCodes));
    const __mmask16 escapes = _mm512_cmpeq_epu32_mask(code, _mm512_set1_epi32(kCodeMask));
    const __m512i octaves = _mm512_srli_epi32(_mm512_sub_epi32(code, _mm512_set1_epi32(kExactCodes - 8)), 1);
    const __m512i bits = _mm512_maskz_add_epi32(static_cast<__mmask16>(lanes & ~escapes), widened(low_bits),
                                                _mm512_maskz_mov_epi32(inexact, octaves));
    if (_mm512_cmpgt_epu32_mask(bits, _mm512_set1_epi32(25)) != 0) return false;
    remaining.has_met_escape |= (lanes & escapes) != 0;
    __m512i stop = _mm512_add_epi32(bits, _mm512_alignr_epi32(bits, zero, 15));
    stop = _mm512_add_epi32(stop, _mm512_alignr_epi32(stop, zero, 14));
    stop = _mm512_add_epi32(stop, _mm512_alignr_epi32(stop, zero, 12));
    stop = _mm512_add_epi32(stop, _mm512_alignr_epi32(stop, zero, 8));
    const auto bit = static_cast<int>(remaining.bit % 8);
    const __m512i start = _mm512_add_epi32(_mm512_sub_epi32(stop, bits), _mm512_set1_epi32(bit));
    const std::uint8_t* const from = remaining.low_bits + remaining.bit / 8;
    remaining.bit += static_cast<std::uint32_t>(_mm_extract_epi32(_mm512_extracti32x4_epi32(stop, 3), 3));
    if (remaining.bit > remaining.bits) return true;
    const __m512i windows = load_each_at(from, _mm512_srli_epi32(start, 3));
    const __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, bits), one);
    const __m512i apart = _mm512_and_si512(_mm512_srlv_epi32(windows, _mm512_and_si512(start, _mm512_set1_epi32(7))), mask);
    const __m512i high = _mm512_mask_add_epi32(code, inexact, _mm512_and_si512(code, one), _mm512_set1_epi32(2));
    sizes = _mm512_or_si512(_mm512_sllv_epi32(high, bits), apart);
    return true;
}

#endif

// Replace the sizes of those items of a block that are `wide`; return false where the bits that stand apart run out.
template <class Item>
bool read_wide(const std::uint64_t* wide, const std::uint8_t* symbols, const std::uint8_t* low_bits, Item* sizes,
               Remaining& remaining) noexcept {
    alignas(64) std::uint8_t wide_symbols[kBlockItems + 64], wide_low_bits[kBlockItems + 64];
    alignas(64) Item found[kBlockItems + 64];
    const std::size_t count = take(symbols, wide, wide_symbols);
    take(low_bits, wide, wide_low_bits);
    for (std::size_t at = 0; at < count; at += kWideGroup) {
        const std::size_t in_group = count - at < kWideGroup ? count - at : kWideGroup;
#if defined(LAMELLA_VECTOR_LANES)
        __m512i group;
        if (in_group >= kLeastGroup && sizeof(Item) < 8 &&
            read_sizes(wide_symbols + at, wide_low_bits + at, in_group, remaining, group)) {
            if (remaining.bit > remaining.bits) return false;
            if constexpr (sizeof(Item) == 1)
                _mm_storeu_si128(reinterpret_cast<__m128i*>(found + at), _mm512_cvtepi32_epi8(group));
            else if constexpr (sizeof(Item) == 2)
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(found + at), _mm512_cvtepi32_epi16(group));
            else
                _mm512_storeu_si512(found + at, group);
            continue;
        }
#endif
        for (std::size_t i = at; i < at + in_group; ++i) {
            if (wide_symbols[i] != kEscape)
                found[i] = static_cast<Item>(read_size(wide_symbols[i], wide_low_bits[i], remaining));
            else
                remaining.has_met_escape = true;
            if (remaining.bit > remaining.bits) return false;
        }
    }
    put_back(found, wide, sizes);
    return true;
}

// Turn the symbols of a block into items; return false where the bits that stand apart run out, or the escapes.
template <class F>
bool find_items(const Block<F>& block, const std::uint8_t* symbols, std::size_t count,
                Unaligned<typename F::Item>* items, Remaining& remaining) noexcept {
    using Item = typename F::Item;
    alignas(64) std::uint8_t is_wide[kBlockItems];
    alignas(64) Item sizes[kBlockItems];
    for (std::size_t i = 0; i < kBlockItems; ++i) {
        is_wide[i] = static_cast<std::uint8_t>(block.low_bits[i] | (symbols[i] & kExactCodes));
        sizes[i] = static_cast<Item>(symbols[i] & kCodeMask);
    }
    Marks wide;
    find_nonzero(is_wide, count, wide.data());
    if (!read_wide(wide.data(), symbols, block.low_bits, sizes, remaining)) return false;
    const auto* const base = block.base;
    for (std::size_t i = 0; i < kBlockItems; ++i) {
        const auto negative = static_cast<Item>(Item{0} - static_cast<Item>(symbols[i] >> kNegativeBit & 1));
        const auto sum = static_cast<Item>(block.expected[i] + static_cast<Item>(sizes[i] ^ negative));
        const auto flip = static_cast<Item>(static_cast<Item>(symbols[i] >> kFlipBit) << (F::kBits - 1));
        items[i] = static_cast<Item>((sum & F::kMagnitude) | ((base[i] ^ flip) & F::kSign));
    }
    if (!std::exchange(remaining.has_met_escape, false)) return true;
    for (const std::uint8_t* found = next_escape(symbols, symbols + count); found != nullptr;
         found = next_escape(found + 1, symbols + count)) {
        if (remaining.escape == remaining.escapes_end) return false;
        std::memcpy(items + (found - symbols), remaining.escape, sizeof(Item));
        remaining.escape += sizeof(Item);
    }
    return true;
}

}  // namespace
}  // namespace lamella
