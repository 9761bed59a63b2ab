// Static range asymmetric numeral systems (rANS; Duda, "Asymmetric numeral systems", arXiv:1311.2540), 32 lanes wide.
//
// Symbol i belongs to lane i mod 32; all lanes share one stream of 16-bit words, in the order in which they ask for
// one. A state is at least 2**15 and below 2**31 between symbols; probabilities have 12 bits, so that a lane takes at
// most one word a symbol. docs/spec/codecs.md has the arithmetic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lamella {

inline constexpr std::size_t kLanes = 32;
inline constexpr std::uint32_t kProbabilityBits = 12;
inline constexpr std::uint32_t kProbabilityTotal = 1U << kProbabilityBits;
inline constexpr std::uint32_t kLeastState = 1U << 15;
inline constexpr std::size_t kSymbols = 256;
inline constexpr std::size_t kWordNbytes = 2;
inline constexpr std::size_t kStatesNbytes = kLanes * 4;
// Stands for every symbol that a context does not hold; all hold it.
inline constexpr std::uint8_t kEscape = 255;

// Frequencies of the 256 symbols in each context, ready for both directions.
class Tables {
   public:
    // `frequencies` holds kSymbols numbers for each context, each context's sum being kProbabilityTotal and every
    // number below it.
    explicit Tables(std::span<const std::uint16_t> frequencies);

    // For each symbol of each context: frequency | start << 16.
    [[nodiscard]] const std::uint32_t* pushed() const noexcept { return pushed_.data(); }
    // For each slot of each context: symbol | frequency << 8 | (slot - start) << 20.
    [[nodiscard]] const std::uint32_t* popped() const noexcept { return popped_.data(); }
    [[nodiscard]] bool can_push(std::size_t context, std::size_t symbol) const noexcept {
        return (pushed_[context * kSymbols + symbol] & (kProbabilityTotal - 1)) != 0;
    }

   private:
    std::vector<std::uint32_t> pushed_;
    std::vector<std::uint32_t> popped_;
};

// ceil(2**(31 + bits) / frequency), `bits` being those of frequency - 1, for every frequency from 2 up: with it the
// quotient of a state below 2**31 comes out of a multiplication (Fabian Giesen, "Interleaved entropy coders",
// arXiv:1402.3392). A frequency of 1 has 2**32 - 1, which gives the state less one.
extern const std::array<std::uint32_t, kProbabilityTotal> kReciprocals;

}  // namespace lamella
