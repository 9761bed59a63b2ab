// Pushing and popping flags, as rans_lanes.hpp does symbols. Their contexts fit into registers, so that none is looked up
// in memory.
#pragma once

#include "rans_lanes.hpp"

namespace lamella {
namespace {

inline void push_one(const Flags& flags, std::uint8_t context, bool is_set, std::uint32_t& state,
                     std::uint8_t*& words) noexcept {
    const std::uint32_t clear = flags.clear[context], mask = is_set ? ~0U : 0;
    push_one<kFlagBits>((clear ^ mask) + (mask & (kFlagTotal + 1)), clear & mask, state, words);
}

// The lowest bits of 64 bytes that are 0 or 1.
inline std::uint64_t bits_of(const std::uint8_t* bytes) noexcept {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        std::uint64_t group;
        std::memcpy(&group, bytes + 8 * i, 8);
        bits |= group * 0x0102040810204080U >> 56 << 8 * i;
    }
    return bits;
}

inline bool pop_one(const Flags& flags, std::uint8_t context, std::uint32_t& state,
                    const std::uint8_t*& words) noexcept {
    const std::uint32_t clear = flags.clear[context], slot = state & (kFlagTotal - 1);
    const std::uint32_t is_set = slot >= clear ? 1 : 0, mask = 0 - is_set;
    const std::uint32_t frequency = (clear ^ mask) + (mask & (kFlagTotal + 1));
    refill(frequency * (state >> kFlagBits) + slot - (clear & mask), state, words);
    return is_set != 0;
}

// Push `count` flags, the bits of `set` from its lowest up, from the last to the first.
inline void push_flags(const Flags& flags, const std::uint8_t* contexts, const std::uint64_t* set, std::size_t count,
                       Pushing& pushing) noexcept {
    std::uint8_t* words = pushing.words;
    std::size_t left = count;
    const auto push_last = [&] {
        --left;
        push_one(flags, contexts[left], (set[left / 64] >> left % 64 & 1) != 0, pushing.states[left % kLanes], words);
    };
    while (left % kLanes != 0) push_last();
#if defined(LAMELLA_VECTOR_LANES)
    Vectors vectors(pushing.states);
    const auto table = [](const auto& of) {
        return [low = _mm512_load_si512(of.data()), high = _mm512_load_si512(of.data() + 16)](__m512i index) {
            return _mm512_permutex2var_epi32(low, index, high);
        };
    };
    const auto clear_of = table(flags.clear);
    const auto clear_inverses = table(flags.clear_inverses), set_inverses = table(flags.set_inverses);
    const __m512i total = _mm512_set1_epi32(kFlagTotal);
    for (; left != 0; left -= kLanes) {
        for (std::size_t i = Vectors::kCount; i-- != 0;) {
            const std::size_t at = left - kLanes + LAMELLA_VECTOR_LANES * i;
            const __m512i context = widened(contexts + at), clear = clear_of(context);
            const auto is_set = static_cast<__mmask16>(set[at / 64] >> at % 64);
            const __m512i inverse = _mm512_mask_blend_epi32(is_set, clear_inverses(context), set_inverses(context));
            push_vector<kFlagBits>(_mm512_mask_sub_epi32(clear, is_set, total, clear),
                                   _mm512_maskz_mov_epi32(is_set, clear), inverse, vectors.states[i], words);
        }
    }
    vectors.store(pushing.states);
#else
    while (left != 0) push_last();
#endif
    pushing.words = words;
}

// Pop `count` flags into the bits of `set`, from its lowest up; return false where there are too few words.
inline bool pop_flags(const Flags& flags, const std::uint8_t* contexts, std::uint64_t* set, std::size_t count,
                      Popping& popping) noexcept {
    const std::uint8_t* words = popping.words;
    std::size_t at = 0;
#if defined(LAMELLA_VECTOR_LANES)
    Vectors vectors(popping.states);
    const __m512i low = _mm512_load_si512(flags.clear.data()), high = _mm512_load_si512(flags.clear.data() + 16);
    const __m512i total = _mm512_set1_epi32(kFlagTotal), slot_mask = _mm512_set1_epi32(kFlagTotal - 1);
    for (; at + kLanes <= count && words <= popping.end; at += kLanes) {
        std::uint64_t found = 0;
        for (std::size_t i = 0; i < Vectors::kCount; ++i) {
            __m512i& state = vectors.states[i];
            const __m512i clear = _mm512_permutex2var_epi32(low, widened(contexts + at + LAMELLA_VECTOR_LANES * i), high);
            const __m512i slot = _mm512_and_si512(state, slot_mask);
            const __mmask16 is_set = _mm512_cmpge_epu32_mask(slot, clear);
            const __m512i frequency = _mm512_mask_sub_epi32(clear, is_set, total, clear);
            refill(_mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(state, kFlagBits)),
                                    _mm512_mask_sub_epi32(slot, is_set, slot, clear)),
                   state, words);
            found |= std::uint64_t{is_set} << LAMELLA_VECTOR_LANES * i;
        }
        set[at / 64] = found;
    }
    vectors.store(popping.states);
#else
    alignas(64) std::uint32_t clear[kLanes], popped[kLanes];
    alignas(64) std::uint8_t is_set[kLanes];
    for (; at + kLanes <= count && words <= popping.end; at += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) clear[lane] = flags.clear[contexts[at + lane]];
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            const std::uint32_t state = popping.states[lane], slot = state % kFlagTotal;
            const std::uint32_t mask = slot >= clear[lane] ? ~0U : 0;
            const std::uint32_t frequency = (clear[lane] ^ mask) + (mask & (kFlagTotal + 1));
            popped[lane] = frequency * (state >> kFlagBits) + slot - (clear[lane] & mask);
            is_set[lane] = static_cast<std::uint8_t>(mask & 1);
        }
        refill_each(popped, popping.states, words);
        set[at / 64] = bits_of(is_set);
    }
#endif
    if (words <= popping.end && at < count) {
        std::uint64_t found = 0;
        for (; at < count; ++at)
            found |= std::uint64_t{pop_one(flags, contexts[at], popping.states[at % kLanes], words)} << at % 64;
        set[(count - 1) / 64] = found;
    }
    popping.words = words;
    return words <= popping.end;
}

}  // namespace
}  // namespace lamella
