// Byte planes: byte p of every item, gathered, so that bytes of one meaning lie together.
#include <algorithm>
#include <array>

#include "kernels.hpp"

namespace lamella {
namespace {

// The XOR with the base and the shuffle are two loops, for each vectorises with baseline instructions where one loop
// with both does not; a block is small enough to stay in the first-level cache between them.
constexpr std::size_t kBlockNbytes = 4096;

void combine(const std::uint8_t* a, const std::uint8_t* b, std::size_t nbytes, std::uint8_t* __restrict out) noexcept {
    for (std::size_t i = 0; i < nbytes; ++i) out[i] = static_cast<std::uint8_t>(a[i] ^ b[i]);
}

template <std::size_t kItem>
void split_block(const std::uint8_t* source, std::size_t items, std::uint8_t* __restrict planes,
                 std::size_t stride) noexcept {
    for (std::size_t i = 0; i < items; ++i)
        for (std::size_t p = 0; p < kItem; ++p) planes[p * stride + i] = source[i * kItem + p];
}

template <std::size_t kItem>
void join_block(const std::uint8_t* planes, std::size_t stride, std::size_t items,
                std::uint8_t* __restrict out) noexcept {
    for (std::size_t i = 0; i < items; ++i)
        for (std::size_t p = 0; p < kItem; ++p) out[i * kItem + p] = planes[p * stride + i];
}

template <std::size_t kItem>
void split(Bytes source, Bytes base, MutableBytes planes) noexcept {
    std::array<std::uint8_t, kBlockNbytes> changed;
    const std::size_t stride = source.size() / kItem;
    const std::size_t body = stride * kItem;
    for (std::size_t start = 0; start < body; start += kBlockNbytes) {
        const std::size_t nbytes = std::min(kBlockNbytes, body - start);
        const std::uint8_t* block = source.data() + start;
        if (!base.empty()) {
            combine(block, base.data() + start, nbytes, changed.data());
            block = changed.data();
        }
        split_block<kItem>(block, nbytes / kItem, planes.data() + start / kItem, stride);
    }
}

template <std::size_t kItem>
void join(Bytes planes, Bytes base, MutableBytes out) noexcept {
    std::array<std::uint8_t, kBlockNbytes> changed;
    const std::size_t stride = out.size() / kItem;
    const std::size_t body = stride * kItem;
    for (std::size_t start = 0; start < body; start += kBlockNbytes) {
        const std::size_t nbytes = std::min(kBlockNbytes, body - start);
        std::uint8_t* block = out.data() + start;
        join_block<kItem>(planes.data() + start / kItem, stride, nbytes / kItem, base.empty() ? block : changed.data());
        if (!base.empty()) combine(changed.data(), base.data() + start, nbytes, block);
    }
}

void copy_tail(Bytes source, Bytes base, std::size_t tail, MutableBytes out) noexcept {
    for (std::size_t i = out.size() - tail; i < out.size(); ++i)
        out[i] = static_cast<std::uint8_t>(base.empty() ? source[i] : source[i] ^ base[i]);
}

}  // namespace

void split_planes(Bytes source, std::size_t item_nbytes, Bytes base, MutableBytes planes) noexcept {
    switch (item_nbytes) {
        case 2: split<2>(source, base, planes); break;
        case 4: split<4>(source, base, planes); break;
        case 8: split<8>(source, base, planes); break;
        default: split<1>(source, base, planes); break;
    }
    copy_tail(source, base, source.size() % item_nbytes, planes);
}

void join_planes(Bytes planes, std::size_t item_nbytes, Bytes base, MutableBytes out) noexcept {
    switch (item_nbytes) {
        case 2: join<2>(planes, base, out); break;
        case 4: join<4>(planes, base, out); break;
        case 8: join<8>(planes, base, out); break;
        default: join<1>(planes, base, out); break;
    }
    copy_tail(planes, base, planes.size() % item_nbytes, out);
}

}  // namespace lamella
