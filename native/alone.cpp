#include "alone.hpp"

#include <algorithm>
#include <cstring>

#include "fit.hpp"
#include "instructions.hpp"
#include "payload.hpp"

namespace lamella {
namespace {

// A payload ends with the number of escapes and the states of the lanes; it is longer than what a vector reads behind
// the last word.
constexpr std::size_t kAloneTrailerNbytes = 4 + kStatesNbytes;

}  // namespace

void count_alone(std::size_t item_nbytes, Bytes chunk, ByteCounts& counts) noexcept {
    passes().alone.count(item_nbytes, chunk, counts);
}

std::vector<std::uint16_t> fit_alone(const ByteCounts& counts) {
    Histogram histogram;
    std::ranges::copy(counts, histogram.begin());
    ++histogram[kEscape];
    histogram[0] += histogram[0] == 0 ? 1 : 0;
    std::vector<std::uint16_t> frequencies;
    append_frequencies(histogram, frequencies);
    return frequencies;
}

std::size_t encode_alone(const Tables& tables, std::size_t item_nbytes, Bytes chunk, MutableBytes out) {
    thread_local Room kept;
    const std::size_t count = chunk.size() / item_nbytes;
    const std::size_t planes_nbytes = count * (item_nbytes - 1);
    const std::size_t padded = count + kSymbols;
    const std::size_t words_nbytes = kWordNbytes * (count + kLanes);
    std::uint8_t* const symbols = kept.of(padded + planes_nbytes + words_nbytes);
    std::uint8_t* const planes = symbols + padded;
    std::uint8_t* const words_end = planes + planes_nbytes + words_nbytes;
    std::uint32_t states[kLanes];
    const std::uint8_t* const words =
        passes().alone.encode(tables, item_nbytes, chunk, planes, symbols, words_end, states);
    std::uint32_t escapes = 0;
    for (const std::uint8_t* found = next_escape(symbols, symbols + count); found != nullptr;
         found = next_escape(found + 1, symbols + count))
        ++escapes;
    const auto words_used = static_cast<std::size_t>(words_end - words);
    const std::size_t nbytes = planes_nbytes + words_used + escapes + kAloneTrailerNbytes;
    if (nbytes > out.size()) return nbytes;
    std::uint8_t* at = out.data();
    std::memcpy(at, planes, planes_nbytes);
    at += planes_nbytes;
    std::memcpy(at, words, words_used);
    at += words_used;
    for (const std::uint8_t* found = next_escape(symbols, symbols + count); found != nullptr;
         found = next_escape(found + 1, symbols + count)) {
        const std::uint8_t* const item = chunk.data() + static_cast<std::size_t>(found - symbols) * item_nbytes;
        const unsigned highest = item[item_nbytes - 1];
        const unsigned below = item_nbytes == 1 ? highest : item[item_nbytes - 2];
        *at++ = static_cast<std::uint8_t>(highest << 1 | below >> 7);
    }
    store(at, escapes);
    std::memcpy(at, states, kStatesNbytes);
    return nbytes;
}

bool decode_alone(const Tables& tables, std::size_t item_nbytes, Bytes payload, MutableBytes out) noexcept {
    const std::size_t planes_nbytes = out.size() / item_nbytes * (item_nbytes - 1);
    if (payload.size() < planes_nbytes + kAloneTrailerNbytes) return false;
    const std::size_t body = payload.size() - planes_nbytes - kAloneTrailerNbytes;
    const std::uint8_t* const trailer = payload.data() + planes_nbytes + body;
    const std::size_t escapes = load<std::uint32_t>(trailer);
    if (escapes > body || (body - escapes) % kWordNbytes != 0) return false;
    return passes().alone.decode(tables, item_nbytes, payload.data(),
                                 payload.subspan(planes_nbytes, body - escapes),
                                 payload.subspan(planes_nbytes + body - escapes, escapes), trailer + 4, out);
}

}  // namespace lamella
