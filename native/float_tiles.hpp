// Elements of dtypes of floats as codes, their bits in an unsigned integer: how a tile of them is read, becomes doubles
// and is made of doubles. Internal to what includes it.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "element_tiles.hpp"

namespace lamella {
namespace {

template <typename Code>
using CodesOf = Code[kTile];

// Call `action` with a zero of the integers that the element's codes are; packed ones have a byte each.
template <typename Action>
auto with_code(const Element& element, Action action) {
    switch (element.bits) {
        case 16: return action(std::uint16_t{});
        case 32: return action(std::uint32_t{});
        case 64: return action(std::uint64_t{});
        default: return action(std::uint8_t{});
    }
}

// Read `count` codes from the one numbered `first`, a multiple of 8.
template <typename Code>
void load_codes(const Element& element, Bytes data, std::size_t first, std::size_t count, Code* out) {
    const std::uint8_t* from = data.data() + first / 8 * element.bits;
    if (element.bits >= 8) {
        if (count != 0) std::memcpy(out, from, count * sizeof(Code));
        return;
    }
    const unsigned mask = (1U << element.bits) - 1;
    const std::size_t nbytes = nbytes_of(element, count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = i * element.bits / 8, shift = i * element.bits % 8;
        const unsigned high = at + 1 < nbytes ? from[at + 1] : 0U;
        out[i] = static_cast<Code>((from[at] | high << 8) >> shift & mask);
    }
}

// Undo load_codes; bits behind the last element are 0.
template <typename Code>
void store_codes(const Element& element, const Code* codes, std::size_t first, std::size_t count, MutableBytes out) {
    std::uint8_t* to = out.data() + first / 8 * element.bits;
    if (element.bits >= 8) {
        if (count != 0) std::memcpy(to, codes, count * sizeof(Code));
        return;
    }
    unsigned held = 0, bits = 0;
    for (std::size_t i = 0; i < count; ++i) {
        held |= static_cast<unsigned>(codes[i]) << bits;
        for (bits += element.bits; bits >= 8; bits -= 8, held >>= 8) *to++ = static_cast<std::uint8_t>(held);
    }
    if (bits != 0) *to = static_cast<std::uint8_t>(held);
}

template <typename Code>
void widen(const Element& element, const Code* codes, std::size_t count, double* out) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(codes);
    if constexpr (sizeof(Code) == 1) {
        read_items<std::uint8_t>(bytes, count, out, [&](std::uint8_t code) { return element.table[code]; });
    } else {
        read_elements(element, {bytes, count * sizeof(Code)}, 0, count, out);
    }
}

inline std::uint64_t nan_of(const Element& element) {
    switch (element.special) {
        case Special::kIeee: return static_cast<std::uint64_t>(element.largest + 1) | std::uint64_t{1} << (element.mantissa - 1);
        case Special::kLargestCode: return static_cast<std::uint64_t>(element.largest + 1);
        case Special::kNegativeZero: return std::uint64_t{1} << (element.bits - 1);
        default: return 0;
    }
}

// How doubles are rounded to a dtype of fewer bits of mantissa: those of normal numbers by their bits, and those below
// by adding a number so large that its last place is the dtype's smallest number.
struct Rounding {
    explicit Rounding(const Element& element)
        : dropped(52 - static_cast<unsigned>(element.mantissa)),
          below_half((std::uint64_t{1} << (dropped - 1)) - 1),
          offset(static_cast<std::uint64_t>(1022 + element.exponent) << element.mantissa),
          normal(static_cast<std::int64_t>(1023 + element.exponent) << 52),
          magic(std::ldexp(1.0, 52 + element.exponent - element.mantissa)),
          limit(element.largest + (element.special == Special::kIeee ? 1 : 0)),
          nan(static_cast<std::int64_t>(nan_of(element))),
          sign_shift(element.bits - 1),
          least_signed(element.special == Special::kNegativeZero ? 1 : 0) {}

    std::int64_t operator()(double value) const {
        const auto bits = std::bit_cast<std::uint64_t>(value), size = bits & ~kSign;
        const std::uint64_t rounded = ((size + below_half + (size >> dropped & 1)) >> dropped) - offset;
        const std::uint64_t small = std::bit_cast<std::uint64_t>(std::bit_cast<double>(size) + magic) - std::bit_cast<std::uint64_t>(magic);
        std::int64_t code = static_cast<std::int64_t>(size) < normal ? static_cast<std::int64_t>(small) : static_cast<std::int64_t>(rounded);
        code = code > limit ? limit : code;
        const std::int64_t sign = static_cast<std::int64_t>(bits >> 63 << sign_shift);
        code |= code < least_signed ? 0 : sign;
        return static_cast<std::int64_t>(size) > static_cast<std::int64_t>(kInfinity) ? nan : code;
    }

    unsigned dropped;
    std::uint64_t below_half, offset;
    std::int64_t normal;
    double magic;
    std::int64_t limit, nan;
    unsigned sign_shift;
    std::int64_t least_signed;
};

// Round to bf16 by way of f32, into whose last place all goes that it cannot hold, so that nothing is rounded twice.
// Return whether no number was found that is subnormal, for which this is not so.
inline bool narrow_normal_bf16(const double* values, std::size_t count, std::uint16_t* out) {
    constexpr std::uint64_t kLost = (std::uint64_t{1} << 29) - 1;
    alignas(64) std::uint32_t floats[kTile];
    for (std::size_t i = 0; i < count; ++i) {
        const auto bits = std::bit_cast<std::uint64_t>(values[i]);
        const auto held = std::bit_cast<double>((bits | ((bits & kLost) + kLost)) & ~kLost);
        floats[i] = std::bit_cast<std::uint32_t>(static_cast<float>(held));
    }
    std::uint32_t subnormal = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t bits = floats[i], size = bits & 0x7fffffffU;
        const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
        out[i] = static_cast<std::uint16_t>(size > 0x7f800000U ? 0x7fc0U : rounded);
        subnormal |= size - 1 < 0x7fffffU ? 1U : 0U;
    }
    return subnormal == 0;
}

// Round doubles to the nearest codes, ties to even, as `encode` in lamella/model/merge_reference.py says.
template <typename Code>
void narrow(const Element& element, const double* values, std::size_t count, Code* out) {
    if constexpr (sizeof(Code) == 8) {
        for (std::size_t i = 0; i < count; ++i) {
            const auto bits = std::bit_cast<std::uint64_t>(values[i]);
            out[i] = (bits & ~kSign) > kInfinity ? 0x7ff8000000000000U : bits;
        }
    } else if constexpr (sizeof(Code) == 4) {
        for (std::size_t i = 0; i < count; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(values[i]));
            out[i] = (bits & 0x7fffffffU) > 0x7f800000U ? 0x7fc00000U : bits;
        }
    } else {
        if constexpr (sizeof(Code) == 2)
            if (element.reading == Reading::kBf16 && narrow_normal_bf16(values, count, out)) return;
        const Rounding rounding(element);
        for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<Code>(rounding(values[i]));
    }
}

template <typename Flag>
bool is_set(Flag flag) {
    if constexpr (sizeof(Flag) == 8) return std::bit_cast<std::uint64_t>(flag) != 0;
    return flag != 0;
}

// Return how many codes are infinite or NaN, of those whose bits are not 0 in `differs`.
template <typename Code, typename Flag>
std::uint64_t count_special(const Element& element, const Code* codes, const Flag* differs, std::size_t count) {
    if (element.special == Special::kNone) return 0;
    const auto largest = static_cast<Code>(element.largest);
    const auto nan = static_cast<Code>(element.special == Special::kNegativeZero ? nan_of(element) : 0);
    const auto mask = static_cast<Code>(std::numeric_limits<Code>::max() >> 1);
    const auto is_special = [=](Code code) {
        return static_cast<Code>(code & mask) > largest || (nan != 0 && code == nan);
    };
    Code any = 0;
    for (std::size_t i = 0; i < count; ++i) any = static_cast<Code>(any | (is_special(codes[i]) ? 1 : 0));
    std::uint64_t found = 0;
    if (any != 0)
        for (std::size_t i = 0; i < count; ++i) found += is_special(codes[i]) && is_set(differs[i]);
    return found;
}

}  // namespace
}  // namespace lamella
