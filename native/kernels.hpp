// The kernels of the codec: pure functions on bytes, each defined by its twin in lamella/codec/reference.py.
//
// Callers have checked every length. Inputs may overlap each other; an output overlaps nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lamella {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

// Bytes that decide whether a position may be a cut; the width of the rolling hash.
inline constexpr std::size_t kWindowNbytes = 64;
// One 64-bit little-endian number for each value of a byte.
inline constexpr std::size_t kGearNbytes = 256 * 8;

// Write byte p of every item of `source`, XORed with `base` where there is one, to plane p of `planes`; the bytes
// after the last whole item follow the planes. `item_nbytes` is 1, 2, 4 or 8; an empty `base` is none.
void split_planes(Bytes source, std::size_t item_nbytes, Bytes base, MutableBytes planes) noexcept;

// Undo split_planes with the same `base`.
void join_planes(Bytes planes, std::size_t item_nbytes, Bytes base, MutableBytes out) noexcept;

// Return the length of the first content-defined chunk of `data`.
// `average` is a power of two; kWindowNbytes <= minimum <= average <= maximum.
std::size_t find_cut(Bytes data, Bytes gear, std::size_t minimum, std::size_t average, std::size_t maximum) noexcept;

}  // namespace lamella
