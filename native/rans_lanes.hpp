// Pushing and popping symbols, with the widest vectors of the instruction set that the including file is built for.
//
// Everything is internal to that file: it is built several times, and the linker must not take one build's function
// for another's.
#pragma once

#include <bit>
#include <cstring>

#include "rans.hpp"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512CD__) && defined(__AVX512VBMI2__)
#include <immintrin.h>
#define LAMELLA_VECTOR_LANES 16
#endif

namespace lamella {
namespace {

// The states of all lanes, and the words that are left. At least kLanes words can be read behind `end`.
struct Popping {
    alignas(64) std::uint32_t states[kLanes];
    const std::uint8_t* words;
    const std::uint8_t* end;
};

// The states of all lanes, and where the words begin that were given off; they grow downwards.
struct Pushing {
    alignas(64) std::uint32_t states[kLanes];
    std::uint8_t* words;
};

inline std::uint32_t load_word(const std::uint8_t* at) noexcept {
    return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[1]) << 8;
}

inline void push_one(const Tables& tables, std::uint8_t context, std::uint8_t& symbol, std::uint32_t& state,
                     std::uint8_t*& words) noexcept {
    const std::uint32_t* row = tables.pushed() + context * kSymbols;
    std::uint32_t entry = row[symbol];
    if ((entry & 0xFFFF) == 0) [[unlikely]] {
        symbol = kEscape;
        entry = row[kEscape];
    }
    const std::uint32_t frequency = entry & 0xFFFF;
    // A word is written always and kept where it is needed: no branch that cannot be foreseen.
    const bool is_full = state >= frequency << (31 - kProbabilityBits);
    words[-2] = static_cast<std::uint8_t>(state);
    words[-1] = static_cast<std::uint8_t>(state >> 8);
    words -= is_full ? kWordNbytes : 0;
    state = is_full ? state >> 16 : state;
    const std::uint64_t product = static_cast<std::uint64_t>(state) * kReciprocals[frequency];
    const bool is_one = frequency == 1;
    const int shift = is_one ? 0 : static_cast<int>(std::bit_width(frequency - 1)) - 1;
    const std::uint32_t quotient = (static_cast<std::uint32_t>(product >> 32) >> shift) + is_one;
    state += (entry >> 16) + quotient * (kProbabilityTotal - frequency);
}

// Push `count` symbols, from the last to the first; one that its context does not hold becomes kEscape, which it must.
// There is room for a word more than there are symbols.
inline void push(const Tables& tables, const std::uint8_t* contexts, std::uint8_t* symbols, std::size_t count,
                 Pushing& pushing) noexcept {
    std::uint8_t* words = pushing.words;
    std::size_t left = count;
    for (; left % kLanes != 0; --left)
        push_one(tables, contexts[left - 1], symbols[left - 1], pushing.states[(left - 1) % kLanes], words);
#if defined(LAMELLA_VECTOR_LANES)
    __m512i states[2] = {_mm512_load_si512(pushing.states), _mm512_load_si512(pushing.states + 16)};
    const __m512i low_half = _mm512_set1_epi32(0xFFFF), one = _mm512_set1_epi32(1);
    for (; left != 0; left -= kLanes) {
        for (int half = 1; half >= 0; --half) {
            const std::size_t at = left - kLanes + 16 * static_cast<std::size_t>(half);
            const __m512i rows = _mm512_slli_epi32(
                _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(contexts + at))), 8);
            const __m128i wanted = _mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols + at));
            __m512i entry = _mm512_i32gather_epi32(_mm512_or_si512(rows, _mm512_cvtepu8_epi32(wanted)),
                                                   tables.pushed(), 4);
            const __mmask16 absent = _mm512_testn_epi32_mask(entry, low_half);
            if (absent != 0) [[unlikely]] {
                const __m512i escapes = _mm512_or_si512(rows, _mm512_set1_epi32(kEscape));
                entry = _mm512_mask_i32gather_epi32(entry, absent, escapes, tables.pushed(), 4);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(symbols + at),
                                 _mm_mask_blend_epi8(absent, wanted, _mm_set1_epi8(static_cast<char>(kEscape))));
            }
            const __m512i frequency = _mm512_and_si512(entry, low_half);
            __m512i state = states[half];
            const __mmask16 full =
                _mm512_cmpge_epu32_mask(state, _mm512_slli_epi32(frequency, 31 - kProbabilityBits));
            words -= kWordNbytes * static_cast<std::size_t>(std::popcount(full));
            const __m256i given = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, state));
            _mm256_mask_storeu_epi16(words, static_cast<__mmask16>((1U << std::popcount(full)) - 1), given);
            state = _mm512_mask_srli_epi32(state, full, state, 16);
            const __m512i reciprocal = _mm512_i32gather_epi32(frequency, kReciprocals.data(), 4);
            const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(state, reciprocal), 32);
            const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(state, 32), _mm512_srli_epi64(reciprocal, 32));
            const __m512i high = _mm512_mask_blend_epi32(0xAAAA, even, odd);
            const __mmask16 ones = _mm512_cmpeq_epi32_mask(frequency, one);
            // The bits of (frequency - 1), less one; a frequency of 1 is not shifted.
            const __m512i shift =
                _mm512_maskz_sub_epi32(static_cast<__mmask16>(~ones), _mm512_set1_epi32(31),
                                       _mm512_lzcnt_epi32(_mm512_sub_epi32(frequency, one)));
            __m512i quotient = _mm512_srlv_epi32(high, shift);
            quotient = _mm512_mask_add_epi32(quotient, ones, quotient, one);
            const __m512i complement = _mm512_sub_epi32(_mm512_set1_epi32(kProbabilityTotal), frequency);
            states[half] = _mm512_add_epi32(_mm512_add_epi32(state, _mm512_srli_epi32(entry, 16)),
                                            _mm512_mullo_epi32(quotient, complement));
        }
    }
    _mm512_store_si512(pushing.states, states[0]);
    _mm512_store_si512(pushing.states + 16, states[1]);
#else
    for (; left != 0; left -= kLanes)
        for (std::size_t lane = kLanes; lane-- != 0;)
            push_one(tables, contexts[left - kLanes + lane], symbols[left - kLanes + lane], pushing.states[lane],
                     words);
#endif
    pushing.words = words;
}

inline void pop_one(const std::uint32_t* slots, std::uint8_t context, std::uint8_t& symbol, std::uint32_t& state,
                    const std::uint8_t*& words) noexcept {
    const std::uint32_t entry = slots[context * kProbabilityTotal + (state & (kProbabilityTotal - 1))];
    symbol = static_cast<std::uint8_t>(entry);
    const std::uint32_t popped =
        (entry >> 8 & (kProbabilityTotal - 1)) * (state >> kProbabilityBits) + (entry >> 20);
    const std::uint32_t refilled = popped << 16 | load_word(words);
    const bool is_low = popped < kLeastState;
    words += is_low ? kWordNbytes : 0;
    state = is_low ? refilled : popped;
}

// Pop `count` symbols; return false where there are too few words.
inline bool pop(const Tables& tables, const std::uint8_t* contexts, std::uint8_t* symbols, std::size_t count,
                Popping& popping) noexcept {
    const std::uint32_t* slots = tables.popped();
    const std::uint8_t* words = popping.words;
    std::size_t at = 0;
#if defined(LAMELLA_VECTOR_LANES)
    __m512i states[2] = {_mm512_load_si512(popping.states), _mm512_load_si512(popping.states + 16)};
    const __m512i slot_mask = _mm512_set1_epi32(kProbabilityTotal - 1), least = _mm512_set1_epi32(kLeastState);
    for (; at + kLanes <= count && words <= popping.end; at += kLanes) {
        __m512i popped[2];
        for (std::size_t half = 0; half < 2; ++half) {
            const std::size_t from = at + 16 * half;
            const __m512i rows = _mm512_slli_epi32(
                _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(contexts + from))),
                kProbabilityBits);
            const __m512i entry = _mm512_i32gather_epi32(
                _mm512_or_si512(rows, _mm512_and_si512(states[half], slot_mask)), slots, 4);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(symbols + from), _mm512_cvtepi32_epi8(entry));
            const __m512i frequency = _mm512_and_si512(_mm512_srli_epi32(entry, 8), slot_mask);
            popped[half] = _mm512_add_epi32(
                _mm512_mullo_epi32(frequency, _mm512_srli_epi32(states[half], kProbabilityBits)),
                _mm512_srli_epi32(entry, 20));
        }
        for (std::size_t half = 0; half < 2; ++half) {
            const __mmask16 low = _mm512_cmplt_epu32_mask(popped[half], least);
            const __m512i refill = _mm512_maskz_expand_epi32(
                low, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words))));
            states[half] = _mm512_mask_or_epi32(popped[half], low, _mm512_slli_epi32(popped[half], 16), refill);
            words += kWordNbytes * static_cast<std::size_t>(std::popcount(low));
        }
    }
    _mm512_store_si512(popping.states, states[0]);
    _mm512_store_si512(popping.states + 16, states[1]);
#else
    for (; at + kLanes <= count && words <= popping.end; at += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            pop_one(slots, contexts[at + lane], symbols[at + lane], popping.states[lane], words);
#endif
    if (words <= popping.end)
        for (; at < count; ++at) pop_one(slots, contexts[at], symbols[at], popping.states[at % kLanes], words);
    popping.words = words;
    return words <= popping.end;
}

}  // namespace
}  // namespace lamella
