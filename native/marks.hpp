// Picking some items out of a block and putting them back, for the instruction set that the including file is built for.
#pragma once

#include <array>
#include <bit>
#include <cstring>

#include "delta.hpp"
#include "rans_lanes.hpp"

namespace lamella {
namespace {

// A bit for each item of a block.
using Marks = std::array<std::uint64_t, kBlockItems / 64>;

// Set the bits of those of a block's first `count` bytes that are not zero.
inline void find_nonzero(const std::uint8_t* bytes, std::size_t count, std::uint64_t* marks) noexcept {
    for (std::size_t word = 0; word < kBlockItems / 64; ++word) {
        std::uint64_t found = 0;
#if defined(LAMELLA_VECTOR_LANES)
        found = _mm512_test_epi8_mask(_mm512_loadu_si512(bytes + 64 * word), _mm512_set1_epi8(-1));
#else
        for (std::size_t i = 0; i < 64; ++i) found |= std::uint64_t{bytes[64 * word + i] != 0} << i;
#endif
        const std::size_t in_word = count <= 64 * word ? 0 : count - 64 * word;
        marks[word] = in_word < 64 ? found & ((std::uint64_t{1} << in_word) - 1) : found;
    }
}

// Call `visit(i)` for each bit that is set, in order, while it returns true; return whether all did.
template <class Visit>
bool visit_each(const std::uint64_t* marks, Visit&& visit) noexcept {
    for (std::size_t word = 0; word < kBlockItems / 64; ++word)
        for (std::uint64_t left = marks[word]; left != 0; left &= left - 1)
            if (!visit(64 * word + static_cast<std::size_t>(std::countr_zero(left)))) return false;
    return true;
}

// Write the bytes of a block whose bits are set one behind the other and return their number; writes 64 ahead.
inline std::size_t take(const std::uint8_t* block, const std::uint64_t* set, std::uint8_t* taken) noexcept {
    std::size_t count = 0;
    for (std::size_t word = 0; word < kBlockItems / 64; ++word) {
#if defined(LAMELLA_VECTOR_LANES)
        _mm512_storeu_si512(taken + count,
                            _mm512_maskz_compress_epi8(set[word], _mm512_loadu_si512(block + 64 * word)));
        count += static_cast<std::size_t>(std::popcount(set[word]));
#else
        for (std::uint64_t left = set[word]; left != 0; left &= left - 1)
            taken[count++] = block[64 * word + static_cast<std::size_t>(std::countr_zero(left))];
#endif
    }
    return count;
}

// Undo `take` for bytes or wider items: replace those of a block whose bits are set, and return their number; reads 64
// items ahead.
template <class Item>
std::size_t put_back(const Item* taken, const std::uint64_t* set, Item* block) noexcept {
    const Item* const first = taken;
    for (std::size_t word = 0; word < kBlockItems / 64; ++word, block += 64) {
#if defined(LAMELLA_VECTOR_LANES)
        constexpr std::size_t kVectorItems = 64 / sizeof(Item);
        for (std::size_t at = 0; at < 64; at += kVectorItems) {
            const std::uint64_t mask = set[word] >> at & (~std::uint64_t{0} >> (64 - kVectorItems));
            const __m512i before = _mm512_load_si512(block + at), found = _mm512_loadu_si512(taken);
            __m512i both;
            if constexpr (sizeof(Item) == 1) both = _mm512_mask_expand_epi8(before, mask, found);
            if constexpr (sizeof(Item) == 2)
                both = _mm512_mask_expand_epi16(before, static_cast<__mmask32>(mask), found);
            if constexpr (sizeof(Item) == 4)
                both = _mm512_mask_expand_epi32(before, static_cast<__mmask16>(mask), found);
            if constexpr (sizeof(Item) == 8)
                both = _mm512_mask_expand_epi64(before, static_cast<__mmask8>(mask), found);
            _mm512_store_si512(block + at, both);
            taken += std::popcount(mask);
        }
#else
        for (std::uint64_t left = set[word]; left != 0; left &= left - 1) block[std::countr_zero(left)] = *taken++;
#endif
    }
    return static_cast<std::size_t>(taken - first);
}

}  // namespace
}  // namespace lamella
