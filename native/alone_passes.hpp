// What alone.cpp calls: the passes over a chunk.
#pragma once

#include "alone.hpp"

namespace lamella {

struct AlonePasses {
    void (*count)(std::size_t item_nbytes, Bytes chunk, ByteCounts&) noexcept;
    // Write the lower bytes of all items to `planes`, one plane behind the other, and the highest to `symbols`, which
    // has a block more than there are items; push those, the words downwards from `words_end`, and return their begin.
    const std::uint8_t* (*encode)(const Tables&, std::size_t item_nbytes, Bytes chunk, std::uint8_t* planes,
                                  std::uint8_t* symbols, std::uint8_t* words_end, std::uint32_t* states) noexcept;
    bool (*decode)(const Tables&, std::size_t item_nbytes, const std::uint8_t* planes, Bytes words, Bytes escapes,
                   const std::uint8_t* states, MutableBytes out) noexcept;
};

}  // namespace lamella
