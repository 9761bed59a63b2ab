// Static range asymmetric numeral systems (rANS; Duda, "Asymmetric numeral systems", arXiv:1311.2540), 64 lanes wide.
//
// Number i of a run of symbols belongs to lane i mod 64; all lanes share one stream of 16-bit words, in the order in
// which they ask for one. A state is at least 2**15 and below 2**31 between symbols; probabilities have 11 bits, those of
// flags 15, so that a lane takes at most one word a symbol. docs/spec/codecs.md has the arithmetic.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lamella {

inline constexpr std::size_t kLanes = 64;
inline constexpr std::uint32_t kProbabilityBits = 11;
inline constexpr std::uint32_t kProbabilityTotal = 1U << kProbabilityBits;
inline constexpr std::uint32_t kLeastState = 1U << 15;
inline constexpr std::size_t kSymbols = 256;
inline constexpr std::size_t kWordNbytes = 2;
inline constexpr std::size_t kStatesNbytes = kLanes * 4;
// Stands for every symbol that a context does not hold; all hold it.
inline constexpr std::uint8_t kEscape = 255;

// A little less than 1 / frequency: multiplied by a state below 2**31 and rounded down, it gives the quotient or, where the
// quotient is below 2**20, at worst one less, however the machine rounds in between.
inline float inverse_of(std::uint32_t frequency) noexcept {
    return static_cast<float>((1 - 0x1p-21) / frequency);
}

// Frequencies of the 256 symbols in each context, ready for both directions.
class Tables {
   public:
    // `frequencies` holds kSymbols numbers for each context, each context's sum being kProbabilityTotal and every
    // number below it.
    explicit Tables(std::span<const std::uint16_t> frequencies);

    // For each symbol of each context: frequency | start << 16 | the bits of the frequency's inverse << 32.
    [[nodiscard]] const std::uint64_t* pushed() const noexcept { return pushed_.data(); }
    // For each slot of each context: symbol | frequency << 8 | (slot - start) << 20.
    [[nodiscard]] const std::uint32_t* popped() const noexcept { return popped_.data(); }
    [[nodiscard]] bool can_push(std::size_t context, std::size_t symbol) const noexcept {
        return pushed_[context * kSymbols + symbol] != 0;
    }

   private:
    std::vector<std::uint64_t> pushed_;
    std::vector<std::uint32_t> popped_;
};

inline constexpr std::uint32_t kFlagBits = 15;
inline constexpr std::uint32_t kFlagTotal = 1U << kFlagBits;
inline constexpr std::size_t kFlagContexts = 32;

// How often a flag is clear in each of its contexts, as a share of kFlagTotal: from 1 to kFlagTotal - 1.
struct Flags {
    alignas(64) std::array<std::uint32_t, kFlagContexts> clear;
    // Of the frequencies of clear flags, and of those that are set.
    alignas(64) std::array<float, kFlagContexts> clear_inverses;
    alignas(64) std::array<float, kFlagContexts> set_inverses;

    // The contexts beyond those of `shares` are not used.
    explicit Flags(std::span<const std::uint16_t> shares) noexcept {
        for (std::size_t i = 0; i < kFlagContexts; ++i) {
            clear[i] = i < shares.size() ? shares[i] : kFlagTotal / 2;
            clear_inverses[i] = inverse_of(clear[i]);
            set_inverses[i] = inverse_of(kFlagTotal - clear[i]);
        }
    }
};

}  // namespace lamella
