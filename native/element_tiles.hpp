// Tiles: so many elements that both sides, read as doubles, stay in the fastest cache. Internal to what includes it.
#pragma once

#include <bit>
#include <cstring>

#include "elements.hpp"

namespace lamella {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are read in place");

// A multiple of 8, so that packed elements begin with a byte.
constexpr std::size_t kTile = 1024;
constexpr std::size_t kLanes = 8;
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
constexpr std::uint64_t kInfinity = std::uint64_t{0x7ff} << 52;

using Doubles = double[kTile];

template <typename Stored, typename Convert>
inline void read_items(const std::uint8_t* from, std::size_t count, double* __restrict out, Convert convert) {
    for (std::size_t i = 0; i < count; ++i) {
        Stored item;
        std::memcpy(&item, from + i * sizeof(Stored), sizeof(Stored));
        out[i] = static_cast<double>(convert(item));
    }
}

inline float widened_half(std::uint16_t half) {
    const std::uint32_t magnitude = half & 0x7fffU, sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    // The exponent is moved by a product, which is exact and normalises what is subnormal.
    const auto finite = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112F);
    const std::uint32_t special = 0x7f800000U | (magnitude << 13);
    return std::bit_cast<float>((magnitude >= 0x7c00U ? special : finite) | sign);
}

inline void read_packed(const Element& element, const std::uint8_t* from, std::size_t count, double* out) {
    const unsigned mask = (1U << element.bits) - 1;
    const std::size_t nbytes = nbytes_of(element, count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = i * element.bits / 8, shift = i * element.bits % 8;
        const unsigned high = at + 1 < nbytes ? from[at + 1] : 0U;
        out[i] = element.table[(from[at] | high << 8) >> shift & mask];
    }
}

// Read `count` elements from the one numbered `first`, a multiple of 8.
inline void read_elements(const Element& element, Bytes data, std::size_t first, std::size_t count, double* out) {
    const std::uint8_t* from = data.data() + first / 8 * element.bits;
    const auto same = [](auto item) { return item; };
    switch (element.reading) {
        case Reading::kTable:
            if (element.bits < 8) return read_packed(element, from, count, out);
            return read_items<std::uint8_t>(from, count, out, [&](std::uint8_t code) { return element.table[code]; });
        case Reading::kU16: return read_items<std::uint16_t>(from, count, out, same);
        case Reading::kI16: return read_items<std::int16_t>(from, count, out, same);
        case Reading::kU32: return read_items<std::uint32_t>(from, count, out, same);
        case Reading::kI32: return read_items<std::int32_t>(from, count, out, same);
        case Reading::kU64: return read_items<std::uint64_t>(from, count, out, same);
        case Reading::kI64: return read_items<std::int64_t>(from, count, out, same);
        case Reading::kF16: return read_items<std::uint16_t>(from, count, out, &widened_half);
        case Reading::kBf16:
            return read_items<std::uint16_t>(from, count, out, [](std::uint16_t item) {
                return std::bit_cast<float>(static_cast<std::uint32_t>(item) << 16);
            });
        case Reading::kF32: return read_items<float>(from, count, out, same);
        case Reading::kF64: return read_items<double>(from, count, out, same);
    }
}

inline bool is_finite(double value) { return (std::bit_cast<std::uint64_t>(value) & kInfinity) != kInfinity; }

inline bool all_finite(const double* values, std::size_t count) {
    std::uint64_t special = 0;
    for (std::size_t i = 0; i < count; ++i) special |= is_finite(values[i]) ? 0U : 1U;
    return special == 0;
}

// As many lanes as this instruction set has in one register, and the masks that comparing them makes.
#if defined(__AVX512F__)
constexpr std::size_t kVectorLanes = 8;
#elif defined(__AVX2__)
constexpr std::size_t kVectorLanes = 4;
#else
constexpr std::size_t kVectorLanes = 2;
#endif
typedef double Vector __attribute__((vector_size(8 * kVectorLanes)));
typedef std::int64_t Mask __attribute__((vector_size(8 * kVectorLanes)));
static_assert(kLanes % kVectorLanes == 0);

inline Vector vector_at(const double* from) {
    Vector lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

inline Vector absolute(Vector lanes) {
    return reinterpret_cast<Vector>(reinterpret_cast<Mask>(lanes) & (Mask{} + static_cast<std::int64_t>(~kSign)));
}

inline Vector larger(Vector one, Vector other) { return one > other ? one : other; }

// What eight lanes came to: every instruction set fills them with the same numbers, some of them a few at a time.
struct Lanes {
    double values[kLanes] = {};

    void put(std::size_t lane, Vector part) { std::memcpy(values + lane, &part, sizeof part); }
    double sum() const {
        return ((values[0] + values[1]) + (values[2] + values[3])) + ((values[4] + values[5]) + (values[6] + values[7]));
    }
};

inline std::uint64_t count_of(Mask lanes) {
    std::int64_t total = 0;
    for (std::size_t lane = 0; lane < kVectorLanes; ++lane) total -= lanes[lane];
    return static_cast<std::uint64_t>(total);
}

inline double largest_of(Vector lanes) {
    double largest = lanes[0];
    for (std::size_t lane = 1; lane < kVectorLanes; ++lane) largest = lanes[lane] > largest ? lanes[lane] : largest;
    return largest;
}

}  // namespace
}  // namespace lamella
