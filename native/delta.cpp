#include "delta.hpp"

#include <algorithm>
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
                            std::span<const std::uint16_t> frequencies) {
    DeltaModel model{layout, growth, std::move(bounds), Tables(frequencies), {}, {}};
    for (std::size_t i = 0; i < kAllClasses; ++i) {
        const Folded found = folded(i, item_nbytes_of(layout));
        model.low_bits[i] = found.low_bits;
        const auto reached = [&](std::uint8_t bound) { return found.number >= bound; };
        model.contexts[i] = static_cast<std::uint8_t>(std::ranges::count_if(model.bounds, reached));
    }
    return model;
}

void count_delta(Layout layout, std::int16_t growth, Bytes chunk, Bytes base, Counts& counts) noexcept {
    passes().delta.count(layout, growth, chunk, base, counts);
}

std::size_t encode_delta(const DeltaModel& model, Bytes chunk, Bytes base, MutableBytes out) {
    thread_local Room kept;
    const std::size_t item_nbytes = item_nbytes_of(model.layout);
    const std::size_t count = chunk.size() / item_nbytes;
    const std::size_t padded = count + kBlockItems;
    const std::size_t words_nbytes = kWordNbytes * (padded + padded / kBlockItems + kLanes);
    const std::size_t low_bits_nbytes = chunk.size() + 16;
    std::uint8_t* const symbols = kept.of(2 * padded + low_bits_nbytes + words_nbytes);
    std::uint8_t* const low_bits = symbols + 2 * padded;
    std::uint8_t* const words_end = low_bits + low_bits_nbytes + words_nbytes;
    EncodedParts parts;
    passes().delta.encode(model, chunk, base, {symbols + padded, symbols, low_bits, words_end}, parts);
    std::uint32_t escapes = 0;
    for (const std::uint8_t* found = next_escape(symbols, symbols + count); found != nullptr;
         found = next_escape(found + 1, symbols + count))
        ++escapes;
    const auto words_used = static_cast<std::size_t>(words_end - parts.words);
    const std::size_t nbytes = parts.low_bits_nbytes + words_used + escapes * item_nbytes + kDeltaTrailerNbytes;
    if (nbytes > out.size()) return nbytes;
    std::uint8_t* at = out.data();
    std::memcpy(at, low_bits, parts.low_bits_nbytes);
    at += parts.low_bits_nbytes;
    std::memcpy(at, parts.words, words_used);
    at += words_used;
    for (const std::uint8_t* found = next_escape(symbols, symbols + count); found != nullptr;
         found = next_escape(found + 1, symbols + count)) {
        std::memcpy(at, chunk.data() + static_cast<std::size_t>(found - symbols) * item_nbytes, item_nbytes);
        at += item_nbytes;
    }
    store(at, escapes);
    store(at, static_cast<std::uint32_t>(parts.low_bits_nbytes));
    store(at, parts.first_scale);
    std::memcpy(at, parts.states, kStatesNbytes);
    return nbytes;
}

bool decode_delta(const DeltaModel& model, Bytes payload, Bytes base, MutableBytes out) noexcept {
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
    return passes().delta.decode(model, parts, base, out);
}

}  // namespace lamella
