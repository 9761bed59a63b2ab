// The elements of every dtype as numbers: how they are read, and where they lie in units of the last place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels.hpp"

namespace lamella {

enum class Reading : std::uint8_t { kTable, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kBf16, kF32, kF64 };

// What a dtype of floats has besides numbers: infinities and NaNs as in IEEE 754; a NaN that is the largest of codes; a
// NaN in place of the negative zero; or nothing.
enum class Special : std::uint8_t { kIeee, kLargestCode, kNegativeZero, kNone };

// A dtype by its name. A complex number is two elements. `exponent` is that of the smallest normal number and `largest`
// the ordinal of the largest finite one; where `mantissa` is negative there are no units of the last place.
struct Element {
    std::string_view name;
    unsigned bits;
    Reading reading;
    int mantissa = -1;
    int exponent = 0;
    std::int64_t largest = 0;
    const double* table = nullptr;
    Special special = Special::kIeee;
};

// Return the dtype of that name, or nullptr.
const Element* element_named(std::string_view name) noexcept;

// The coarser of two dtypes, in which distances are measured, or nullptr where one has no units of the last place.
const Element* coarser(const Element& one, const Element& other) noexcept;

inline bool is_float(const Element& element) noexcept { return element.mantissa >= 0; }

inline std::size_t nbytes_of(const Element& element, std::size_t count) noexcept {
    return (count * element.bits + 7) / 8;
}

}  // namespace lamella
