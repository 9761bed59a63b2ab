// Floats by themselves: the byte of the exponent through the entropy coder, the others, which are noise, as they are.
//
// An item is rotated by one bit, so that its sign is the lowest bit and its highest byte is the exponent, or begins
// with it. docs/spec/codecs.md defines every bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"
#include "rans.hpp"

namespace lamella {

// How often each highest byte occurs.
using ByteCounts = std::array<std::uint32_t, kSymbols>;

// Add the highest bytes of `chunk`, whole items of 1, 2, 4 or 8 bytes, to `counts`.
void count_alone(std::size_t item_nbytes, Bytes chunk, ByteCounts& counts) noexcept;

// Return frequencies for `counts`, one of each symbol at least that occurs.
std::vector<std::uint16_t> fit_alone(const ByteCounts& counts);

// Return the length of the payload, which is in `out` unless it is longer than `out`.
std::size_t encode_alone(const Tables& tables, std::size_t item_nbytes, Bytes chunk, MutableBytes out);

// Fill `out` and return true, or return false where encode_alone cannot have made `payload`.
bool decode_alone(const Tables& tables, std::size_t item_nbytes, Bytes payload, MutableBytes out) noexcept;

}  // namespace lamella
