// What delta.cpp calls: the passes over a chunk.
#pragma once

#include "delta.hpp"

namespace lamella {

// A payload ends with this: the number of escapes and of bytes of low bits, the scale before the first block, and the
// states of the lanes. It is longer than what a vector reads behind the last word.
inline constexpr std::size_t kDeltaTrailerNbytes = 4 + 4 + 2 + kStatesNbytes;

// Room for what an encoder finds in `count` items.
struct EncodeRoom {
    std::uint64_t* moved;     // a bit for each item and a block more
    std::uint8_t* classes;    // a block more than `count`, and so are the next two
    std::uint8_t* contexts;   // of the items that moved
    std::uint8_t* symbols;    // of the items that moved
    std::uint8_t* low_bits;   // an item for each item, and 16 bytes
    std::uint8_t* words_end;  // a word for each item, each block and each lane, and for each item again, lie before it
};

struct EncodedParts {
    std::size_t low_bits_nbytes;
    std::size_t moved_count;
    std::int16_t first_scale;
    const std::uint8_t* words;
    std::uint32_t states[kLanes];
};

// Room for what a decoder finds in `count` items.
struct DecodeRoom {
    std::uint64_t* moved;    // a bit for each item and a block more
    std::uint8_t* low_bits;  // a block more than `count`, and so are the next two
    std::uint8_t* contexts;  // of the items that moved
    std::uint8_t* symbols;   // of the items that moved
};

struct DecodeParts {
    Bytes low_bits;
    Bytes words;
    Bytes escapes;
    std::int16_t first_scale;
    const std::uint8_t* states;
};

struct DeltaPasses {
    void (*count)(Layout, std::int16_t growth, Bytes chunk, Bytes base, Counts&) noexcept;
    void (*encode)(const DeltaModel&, Bytes chunk, Bytes base, const EncodeRoom&, EncodedParts&) noexcept;
    bool (*decode)(const DeltaModel&, const DecodeParts&, Bytes base, const DecodeRoom&, MutableBytes out) noexcept;
};

}  // namespace lamella
