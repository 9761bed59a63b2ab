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

// Begin to pop; return false where an encoder cannot have ended with `states`.
inline bool begin(Popping& popping, const std::uint8_t* states, const std::uint8_t* words,
                  const std::uint8_t* end) noexcept {
    std::memcpy(popping.states, states, sizeof popping.states);
    popping.words = words;
    popping.end = end;
    bool is_sound = true;
    for (const std::uint32_t state : popping.states) is_sound &= state >= kLeastState && state >> 31 == 0;
    return is_sound;
}

// Say whether everything that was pushed has been popped, and nothing else.
inline bool is_finished(const Popping& popping) noexcept {
    bool is_done = popping.words == popping.end;
    for (const std::uint32_t state : popping.states) is_done &= state == kLeastState;
    return is_done;
}

inline void begin(Pushing& pushing, std::uint8_t* words_end) noexcept {
    for (std::uint32_t& state : pushing.states) state = kLeastState;
    pushing.words = words_end;
}

inline std::uint32_t load_word(const std::uint8_t* at) noexcept {
    return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[1]) << 8;
}

// Push what takes `frequency` of 2**bits from `start` up.
template <std::uint32_t bits>
inline void push_one(std::uint32_t frequency, std::uint32_t start, std::uint32_t& state, std::uint8_t*& words) noexcept {
    // A word is written always and kept where it is needed: no branch that cannot be foreseen.
    const std::uint32_t is_full = state >= frequency << (31 - bits) ? 1 : 0;
    words[-2] = static_cast<std::uint8_t>(state);
    words[-1] = static_cast<std::uint8_t>(state >> 8);
    words -= kWordNbytes * is_full;
    state >>= 16 * is_full;
    state = (state / frequency << bits) + state % frequency + start;
}

inline void push_one(const Tables& tables, std::uint8_t context, std::uint8_t& symbol, std::uint32_t& state,
                     std::uint8_t*& words) noexcept {
    const std::uint64_t* row = tables.pushed() + context * kSymbols;
    if (row[symbol] == 0) [[unlikely]] symbol = kEscape;
    const std::uint64_t entry = row[symbol];
    push_one<kProbabilityBits>(entry & 0xFFFF, entry >> 16 & 0xFFFF, state, words);
}

inline void refill(std::uint32_t popped, std::uint32_t& state, const std::uint8_t*& words) noexcept {
    // Arithmetic in place of a branch that cannot be foreseen.
    const std::uint32_t is_low = popped < kLeastState ? 1 : 0;
    state = popped << 16 * is_low | (load_word(words) & (0 - is_low));
    words += kWordNbytes * is_low;
}

// Refill all lanes, in order.
inline void refill_each(const std::uint32_t* popped, std::uint32_t* states, const std::uint8_t*& words) noexcept {
    const std::uint8_t* from = words;
    for (std::size_t lane = 0; lane < kLanes; ++lane) refill(popped[lane], states[lane], from);
    words = from;
}

inline void pop_one(const std::uint32_t* slots, std::uint8_t context, std::uint8_t& symbol, std::uint32_t& state,
                    const std::uint8_t*& words) noexcept {
    const std::uint32_t entry = slots[context * kProbabilityTotal + (state & (kProbabilityTotal - 1))];
    symbol = static_cast<std::uint8_t>(entry);
    refill((entry >> 8 & (kProbabilityTotal - 1)) * (state >> kProbabilityBits) + (entry >> 20), state, words);
}

#if defined(LAMELLA_VECTOR_LANES)

// The states of all lanes in registers.
struct Vectors {
    static constexpr std::size_t kCount = kLanes / LAMELLA_VECTOR_LANES;
    __m512i states[kCount];

    explicit Vectors(const std::uint32_t* from) noexcept {
        for (std::size_t i = 0; i < kCount; ++i) states[i] = _mm512_load_si512(from + LAMELLA_VECTOR_LANES * i);
    }
    void store(std::uint32_t* to) const noexcept {
        for (std::size_t i = 0; i < kCount; ++i) _mm512_store_si512(to + LAMELLA_VECTOR_LANES * i, states[i]);
    }
};

inline __m512i widened(const std::uint8_t* bytes) noexcept {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

inline void refill(__m512i popped, __m512i& state, const std::uint8_t*& words) noexcept {
    const __mmask16 low = _mm512_cmplt_epu32_mask(popped, _mm512_set1_epi32(kLeastState));
    const __m512i refill = _mm512_maskz_expand_epi32(
        low, _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words))));
    state = _mm512_mask_or_epi32(popped, low, _mm512_slli_epi32(popped, 16), refill);
    words += kWordNbytes * static_cast<std::size_t>(std::popcount(low));
}

// Load 16 numbers from so many bytes behind `from`, one by one: what is commonly done by a gather takes twice the time
// on some processors.
inline __m512i load_each_at(const std::uint8_t* from, __m512i offsets) noexcept {
    alignas(64) std::uint32_t at[LAMELLA_VECTOR_LANES];
    _mm512_store_si512(at, offsets);
    __m128i pairs[LAMELLA_VECTOR_LANES / 2];
    for (std::size_t i = 0; i < LAMELLA_VECTOR_LANES / 2; ++i)
        pairs[i] = _mm_unpacklo_epi32(_mm_loadu_si32(from + at[2 * i]), _mm_loadu_si32(from + at[2 * i + 1]));
    const __m256i low = _mm256_set_m128i(_mm_unpacklo_epi64(pairs[2], pairs[3]), _mm_unpacklo_epi64(pairs[0], pairs[1]));
    const __m256i high = _mm256_set_m128i(_mm_unpacklo_epi64(pairs[6], pairs[7]), _mm_unpacklo_epi64(pairs[4], pairs[5]));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Load 16 numbers of an array.
inline __m512i load_each(const std::uint32_t* from, __m512i indices) noexcept {
    return load_each_at(reinterpret_cast<const std::uint8_t*>(from), _mm512_slli_epi32(indices, 2));
}

struct Halves {
    __m512i lower;
    __m512i upper;
};

// The same of numbers of 64 bits.
inline Halves load_each(const std::uint64_t* from, __m512i indices) noexcept {
    alignas(64) std::uint32_t at[LAMELLA_VECTOR_LANES];
    _mm512_store_si512(at, indices);
    const auto two = [&](std::size_t i) {
        const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + at[i]));
        return _mm_unpacklo_epi64(first, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + at[i + 1])));
    };
    const auto eight = [&](std::size_t i) {
        const __m256i low = _mm256_set_m128i(two(i + 2), two(i));
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_set_m128i(two(i + 6), two(i + 4)), 1);
    };
    const __m512i first = eight(0), second = eight(8);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_epi32(first, even, second),
            _mm512_permutex2var_epi32(first, _mm512_add_epi32(even, _mm512_set1_epi32(1)), second)};
}

// Push into 16 lanes what push_one pushes into one.
template <std::uint32_t bits>
inline void push_vector(__m512i frequency, __m512i start, __m512i inverse, __m512i& state,
                        std::uint8_t*& words) noexcept {
    const __mmask16 full = _mm512_cmpge_epu32_mask(state, _mm512_slli_epi32(frequency, 31 - bits));
    words -= kWordNbytes * static_cast<std::size_t>(std::popcount(full));
    const __m256i given = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, state));
    _mm256_mask_storeu_epi16(words, static_cast<__mmask16>((1U << std::popcount(full)) - 1), given);
    state = _mm512_mask_srli_epi32(state, full, state, 16);
    const __m512 estimate = _mm512_mul_ps(_mm512_cvtepu32_ps(state), _mm512_castsi512_ps(inverse));
    const __m512i quotient = _mm512_cvttps_epu32(estimate);
    __m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, frequency));
    state = _mm512_slli_epi32(quotient, bits);
    // Where the quotient is one too small.
    const __mmask16 more = _mm512_cmpge_epu32_mask(rest, frequency);
    rest = _mm512_mask_sub_epi32(rest, more, rest, frequency);
    state = _mm512_mask_add_epi32(state, more, state, _mm512_set1_epi32(1 << bits));
    state = _mm512_add_epi32(_mm512_add_epi32(state, rest), start);
}

#endif

// Push `count` symbols, from the last to the first; one that its context does not hold becomes kEscape, which it must.
// There is room for as many words more than symbols as there are lanes.
inline void push(const Tables& tables, const std::uint8_t* contexts, std::uint8_t* symbols, std::size_t count,
                 Pushing& pushing) noexcept {
    std::uint8_t* words = pushing.words;
    std::size_t left = count;
    const auto push_last = [&] {
        --left;
        push_one(tables, contexts[left], symbols[left], pushing.states[left % kLanes], words);
    };
    while (left % kLanes != 0) push_last();
#if defined(LAMELLA_VECTOR_LANES)
    Vectors vectors(pushing.states);
    const __m512i low_half = _mm512_set1_epi32(0xFFFF);
    for (; left != 0; left -= kLanes) {
        for (std::size_t i = Vectors::kCount; i-- != 0;) {
            const std::size_t at = left - kLanes + LAMELLA_VECTOR_LANES * i;
            const __m512i rows = _mm512_slli_epi32(widened(contexts + at), 8);
            Halves entry = load_each(tables.pushed(), _mm512_or_si512(rows, widened(symbols + at)));
            const __mmask16 absent = _mm512_testn_epi32_mask(entry.lower, entry.lower);
            if (absent != 0) [[unlikely]] {
                _mm_mask_storeu_epi8(symbols + at, absent, _mm_set1_epi8(static_cast<char>(kEscape)));
                entry = load_each(tables.pushed(), _mm512_or_si512(rows, widened(symbols + at)));
            }
            push_vector<kProbabilityBits>(_mm512_and_si512(entry.lower, low_half), _mm512_srli_epi32(entry.lower, 16),
                                          entry.upper, vectors.states[i], words);
        }
    }
    vectors.store(pushing.states);
#else
    while (left != 0) push_last();
#endif
    pushing.words = words;
}

// Pop `count` symbols; return false where there are too few words.
inline bool pop(const Tables& tables, const std::uint8_t* contexts, std::uint8_t* symbols, std::size_t count,
                Popping& popping) noexcept {
    const std::uint32_t* slots = tables.popped();
    const std::uint8_t* words = popping.words;
    std::size_t at = 0;
#if defined(LAMELLA_VECTOR_LANES)
    Vectors vectors(popping.states);
    const __m512i slot_mask = _mm512_set1_epi32(kProbabilityTotal - 1);
    for (; at + kLanes <= count && words <= popping.end; at += kLanes) {
        for (std::size_t i = 0; i < Vectors::kCount; ++i) {
            const std::size_t from = at + LAMELLA_VECTOR_LANES * i;
            __m512i& state = vectors.states[i];
            const __m512i rows = _mm512_slli_epi32(widened(contexts + from), kProbabilityBits);
            const __m512i entry = load_each(slots, _mm512_or_si512(rows, _mm512_and_si512(state, slot_mask)));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(symbols + from), _mm512_cvtepi32_epi8(entry));
            const __m512i frequency = _mm512_and_si512(_mm512_srli_epi32(entry, 8), slot_mask);
            refill(_mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(state, kProbabilityBits)),
                                    _mm512_srli_epi32(entry, 20)),
                   state, words);
        }
    }
    vectors.store(popping.states);
#else
    // Loops over all lanes that the compiler can vectorise, and two that it cannot.
    alignas(64) std::uint32_t entries[kLanes], popped[kLanes];
    for (; at + kLanes <= count && words <= popping.end; at += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            entries[lane] = slots[contexts[at + lane] * kProbabilityTotal + popping.states[lane] % kProbabilityTotal];
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            symbols[at + lane] = static_cast<std::uint8_t>(entries[lane]);
            popped[lane] = (entries[lane] >> 8) % kProbabilityTotal * (popping.states[lane] >> kProbabilityBits) +
                           (entries[lane] >> 20);
        }
        refill_each(popped, popping.states, words);
    }
#endif
    if (words <= popping.end)
        for (; at < count; ++at) pop_one(slots, contexts[at], symbols[at], popping.states[at % kLanes], words);
    popping.words = words;
    return words <= popping.end;
}

}  // namespace
}  // namespace lamella
