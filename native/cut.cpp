// Content-defined chunking: a cut depends on the 64 bytes before it, so an edit moves the cuts near it and no others.
//
// The rolling hash and the two masks follow Xia et al., "FastCDC" (USENIX ATC 2016); the constants are our own.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels.hpp"

namespace lamella {
namespace {

static_assert(std::endian::native == std::endian::little, "the gear table is read in place");

struct Gear {
    std::uint64_t number[256];
};

std::uint64_t roll(std::uint64_t hash, const Gear& gear, std::uint8_t byte) noexcept {
    return (hash << 1) + gear.number[byte];
}

// Return the first length in [length, stop) whose hash is below `bound`, or `stop`; `hash` is that of `length`.
std::size_t scan(Bytes data, const Gear& gear, std::size_t length, std::size_t stop, std::uint64_t bound,
                 std::uint64_t& hash) noexcept {
    for (; length < stop; ++length) {
        if (hash < bound) return length;
        hash = roll(hash, gear, data[length]);
    }
    return stop;
}

}  // namespace

std::size_t find_cut(Bytes data, Bytes gear, std::size_t minimum, std::size_t average, std::size_t maximum) noexcept {
    const std::size_t stop = std::min(data.size(), maximum);
    if (stop <= minimum) return stop;
    Gear table;
    std::memcpy(&table, gear.data(), sizeof table);
    std::uint64_t hash = 0;
    for (std::size_t i = minimum - kWindowNbytes; i < minimum; ++i) hash = roll(hash, table, data[i]);
    const int bits = std::countr_zero(average);
    const std::size_t middle = std::min(stop, average);
    const std::size_t cut = scan(data, table, minimum, middle, std::uint64_t{1} << (62 - bits), hash);
    if (cut < middle) return cut;
    return scan(data, table, middle, stop, std::uint64_t{1} << (66 - bits), hash);
}

}  // namespace lamella
