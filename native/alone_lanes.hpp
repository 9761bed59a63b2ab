// The passes of alone.hpp for the instruction set that the including file is built for.
#pragma once

#include <cstring>

#include "alone_passes.hpp"
#include "rans_lanes.hpp"

namespace lamella {
namespace {

constexpr std::size_t kAloneBlockItems = 256;
alignas(64) constexpr std::uint8_t kOneContext[kAloneBlockItems] = {};

template <class Item>
constexpr int kHighestShift = 8 * (static_cast<int>(sizeof(Item)) - 1);

template <class Item>
Item rotated(Item item) noexcept {
    return static_cast<Item>(static_cast<Item>(item << 1) | item >> (8 * sizeof(Item) - 1));
}

template <class Item>
Item unrotated(Item item) noexcept {
    return static_cast<Item>(item >> 1 | static_cast<Item>(item << (8 * sizeof(Item) - 1)));
}

// Call `visit(at, items, count)` for each block, whose items are copied; behind the last are zeros.
template <class Item, class Visit>
void each_block(Bytes chunk, Visit&& visit) noexcept {
    alignas(64) Item items[kAloneBlockItems];
    const std::size_t count = chunk.size() / sizeof(Item);
    for (std::size_t at = 0; at < count; at += kAloneBlockItems) {
        const std::size_t in_block = count - at < kAloneBlockItems ? count - at : kAloneBlockItems;
        if (in_block != kAloneBlockItems) std::memset(items, 0, sizeof items);
        std::memcpy(items, chunk.data() + at * sizeof(Item), in_block * sizeof(Item));
        visit(at, items, in_block);
    }
}

template <class Item>
void count_highest(Bytes chunk, ByteCounts& counts) noexcept {
    each_block<Item>(chunk, [&](std::size_t, const Item* items, std::size_t in_block) {
        for (std::size_t i = 0; i < in_block; ++i)
            ++counts[static_cast<std::uint8_t>(rotated(items[i]) >> kHighestShift<Item>)];
    });
}

template <class Item>
const std::uint8_t* encode_planes(const Tables& tables, Bytes chunk, std::uint8_t* planes, std::uint8_t* symbols,
                                  std::uint8_t* words_end, std::uint32_t* states) noexcept {
    const std::size_t count = chunk.size() / sizeof(Item);
    each_block<Item>(chunk, [&](std::size_t at, const Item* items, std::size_t in_block) {
        alignas(64) std::uint8_t bytes[kAloneBlockItems];
        for (std::size_t i = 0; i < kAloneBlockItems; ++i)
            symbols[at + i] = static_cast<std::uint8_t>(rotated(items[i]) >> kHighestShift<Item>);
        for (std::size_t plane = 0; plane + 1 < sizeof(Item); ++plane) {
            for (std::size_t i = 0; i < kAloneBlockItems; ++i)
                bytes[i] = static_cast<std::uint8_t>(rotated(items[i]) >> 8 * plane);
            std::memcpy(planes + plane * count + at, bytes, in_block);
        }
    });
    Pushing pushing;
    begin(pushing, words_end);
    // From the last block to the first: a context for each symbol is the same zeros for every block.
    for (std::size_t left = count; left != 0;) {
        const std::size_t in_block = left % kAloneBlockItems != 0 ? left % kAloneBlockItems : kAloneBlockItems;
        left -= in_block;
        push(tables, kOneContext, symbols + left, in_block, pushing);
    }
    std::memcpy(states, pushing.states, sizeof pushing.states);
    return pushing.words;
}

template <class Item>
bool decode_planes(const Tables& tables, const std::uint8_t* planes, Bytes words, Bytes escapes,
                   const std::uint8_t* states, MutableBytes out) noexcept {
    alignas(64) std::uint8_t symbols[kAloneBlockItems] = {}, bytes[kAloneBlockItems] = {};
    alignas(64) Item items[kAloneBlockItems];
    const std::size_t count = out.size() / sizeof(Item);
    Popping popping;
    if (!begin(popping, states, words.data(), words.data() + words.size())) return false;
    const std::uint8_t* escape = escapes.data();
    const std::uint8_t* const escapes_end = escape + escapes.size();
    for (std::size_t at = 0; at < count; at += kAloneBlockItems) {
        const std::size_t in_block = count - at < kAloneBlockItems ? count - at : kAloneBlockItems;
        if (!pop(tables, kOneContext, symbols, in_block, popping)) return false;
        for (std::uint8_t* found = symbols;; ++found) {
            found = static_cast<std::uint8_t*>(
                std::memchr(found, kEscape, static_cast<std::size_t>(symbols + in_block - found)));
            if (found == nullptr) break;
            if (escape == escapes_end) return false;
            *found = *escape++;
        }
        for (std::size_t i = 0; i < kAloneBlockItems; ++i)
            items[i] = static_cast<Item>(static_cast<Item>(symbols[i]) << kHighestShift<Item>);
        for (std::size_t plane = 0; plane + 1 < sizeof(Item); ++plane) {
            std::memcpy(bytes, planes + plane * count + at, in_block);
            for (std::size_t i = 0; i < kAloneBlockItems; ++i)
                items[i] = static_cast<Item>(items[i] | static_cast<Item>(static_cast<Item>(bytes[i]) << 8 * plane));
        }
        for (std::size_t i = 0; i < kAloneBlockItems; ++i) items[i] = unrotated(items[i]);
        std::memcpy(out.data() + at * sizeof(Item), items, in_block * sizeof(Item));
    }
    return is_finished(popping) && escape == escapes_end;
}

template <class Function>
auto with_item(std::size_t item_nbytes, Function&& function) noexcept {
    switch (item_nbytes) {
        case 1: return function(std::uint8_t{});
        case 2: return function(std::uint16_t{});
        case 4: return function(std::uint32_t{});
        default: return function(std::uint64_t{});
    }
}

void count_alone_chunk(std::size_t item_nbytes, Bytes chunk, ByteCounts& counts) noexcept {
    with_item(item_nbytes, [&]<class Item>(Item) { count_highest<Item>(chunk, counts); });
}

const std::uint8_t* encode_alone_chunk(const Tables& tables, std::size_t item_nbytes, Bytes chunk,
                                       std::uint8_t* planes, std::uint8_t* symbols, std::uint8_t* words_end,
                                       std::uint32_t* states) noexcept {
    return with_item(item_nbytes, [&]<class Item>(Item) {
        return encode_planes<Item>(tables, chunk, planes, symbols, words_end, states);
    });
}

bool decode_alone_chunk(const Tables& tables, std::size_t item_nbytes, const std::uint8_t* planes, Bytes words,
                        Bytes escapes, const std::uint8_t* states, MutableBytes out) noexcept {
    return with_item(item_nbytes, [&]<class Item>(Item) {
        return decode_planes<Item>(tables, planes, words, escapes, states, out);
    });
}

}  // namespace
}  // namespace lamella
