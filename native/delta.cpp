#include "delta.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "instructions.hpp"
#include "payload.hpp"

namespace lamella {

std::size_t item_nbytes_of(Layout layout) noexcept {
    switch (layout) {
        case Layout::kFloat32: return 4;
        case Layout::kFloat64: return 8;
        case Layout::kFloat8E4M3:
        case Layout::kFloat8E5M2: return 1;
        default: return 2;
    }
}

DeltaModel make_delta_model(Layout layout, std::int16_t growth, std::vector<std::uint8_t> bounds,
                            std::span<const std::uint16_t> stays, std::span<const std::uint16_t> frequencies) {
    DeltaModel model{layout, growth, std::move(bounds), Flags(stays), Tables(frequencies), {}};
    for (std::size_t i = 0; i < kClasses; ++i) {
        const auto reached = [&](std::uint8_t bound) { return i >= bound; };
        model.contexts[i] = static_cast<std::uint8_t>(std::ranges::count_if(model.bounds, reached));
    }
    return model;
}

namespace {

// Whole blocks and one more.
std::size_t padded_count(std::size_t count) noexcept { return (count / kBlockItems + 2) * kBlockItems; }

// Copy the items whose symbols are escapes to `at` and return where they end.
std::uint8_t* copy_escapes(const EncodeRoom& room, Bytes chunk, std::size_t item_nbytes, std::uint8_t* at) noexcept {
    const std::uint8_t* symbol = room.symbols;
    for (std::size_t word = 0; 64 * word * item_nbytes < chunk.size(); ++word) {
        for (std::uint64_t left = room.moved[word]; left != 0; left &= left - 1) {
            if (*symbol++ != kEscape) continue;
            const std::size_t index = 64 * word + static_cast<std::size_t>(std::countr_zero(left));
            std::memcpy(at, chunk.data() + index * item_nbytes, item_nbytes);
            at += item_nbytes;
        }
    }
    return at;
}

}  // namespace

void count_delta(Layout layout, std::int16_t growth, Bytes chunk, Bytes base, Counts& counts) noexcept {
    passes().delta.count(layout, growth, chunk, base, counts);
}

std::size_t encode_delta(const DeltaModel& model, Bytes chunk, Bytes base, MutableBytes out) {
    thread_local Room kept;
    const std::size_t item_nbytes = item_nbytes_of(model.layout);
    const std::size_t count = chunk.size() / item_nbytes;
    const std::size_t padded = padded_count(count);
    const std::size_t words_nbytes = kWordNbytes * (2 * padded + padded / kBlockItems + kLanes);
    const std::size_t low_bits_nbytes = chunk.size() + 16;
    std::uint8_t* at = kept.of(padded / 8 + 3 * padded + low_bits_nbytes + words_nbytes);
    const auto room_of = [&at](std::size_t nbytes) { return std::exchange(at, at + nbytes); };
    const auto moved = reinterpret_cast<std::uint64_t*>(room_of(padded / 8));
    const EncodeRoom room{moved, room_of(padded), room_of(padded), room_of(padded), room_of(low_bits_nbytes),
                          at + words_nbytes};
    EncodedParts parts;
    passes().delta.encode(model, chunk, base, room, parts);
    const auto escapes = static_cast<std::uint32_t>(std::count(room.symbols, room.symbols + parts.moved_count, kEscape));
    const auto words_used = static_cast<std::size_t>(room.words_end - parts.words);
    const std::size_t nbytes = parts.low_bits_nbytes + words_used + escapes * item_nbytes + kDeltaTrailerNbytes;
    if (nbytes > out.size()) return nbytes;
    at = out.data();
    std::memcpy(at, room.low_bits, parts.low_bits_nbytes);
    at += parts.low_bits_nbytes;
    std::memcpy(at, parts.words, words_used);
    at += words_used;
    if (escapes != 0) at = copy_escapes(room, chunk, item_nbytes, at);
    store(at, escapes);
    store(at, static_cast<std::uint32_t>(parts.low_bits_nbytes));
    store(at, parts.first_scale);
    std::memcpy(at, parts.states, kStatesNbytes);
    return nbytes;
}

bool decode_delta(const DeltaModel& model, Bytes payload, Bytes base, MutableBytes out) {
    thread_local Room kept;
    if (payload.size() < kDeltaTrailerNbytes) return false;
    const std::size_t body = payload.size() - kDeltaTrailerNbytes;
    const std::uint8_t* const trailer = payload.data() + body;
    const std::uint64_t escapes_nbytes = std::uint64_t{load<std::uint32_t>(trailer)} * item_nbytes_of(model.layout);
    const std::uint64_t low_bits_nbytes = load<std::uint32_t>(trailer + 4);
    if (escapes_nbytes + low_bits_nbytes > body) return false;
    const std::size_t words_nbytes = body - escapes_nbytes - low_bits_nbytes;
    if (words_nbytes % kWordNbytes != 0) return false;
    const DecodeParts parts{payload.first(low_bits_nbytes), payload.subspan(low_bits_nbytes, words_nbytes),
                            payload.subspan(low_bits_nbytes + words_nbytes, escapes_nbytes),
                            load<std::int16_t>(trailer + 8), trailer + 10};
    const std::size_t padded = padded_count(out.size() / item_nbytes_of(model.layout));
    std::uint8_t* at = kept.of(padded / 8 + 3 * padded);
    const auto room_of = [&at](std::size_t nbytes) { return std::exchange(at, at + nbytes); };
    const auto moved = reinterpret_cast<std::uint64_t*>(room_of(padded / 8));
    const DecodeRoom room{moved, room_of(padded), room_of(padded), room_of(padded)};
    return passes().delta.decode(model, parts, base, room, out);
}

}  // namespace lamella
