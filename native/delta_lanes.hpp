// The passes of delta.hpp for the instruction set that the including file is built for.
#pragma once

#include <cstring>

#include "delta_blocks.hpp"
#include "delta_passes.hpp"
#include "rans_lanes.hpp"

namespace lamella {
namespace {

constexpr int kScaleBias = kNoStep;
constexpr int kMostScaleStep = 126;
constexpr std::size_t kMaxBlocks = kMaxChunkItems / kBlockItems;

template <class F>
void count_items(std::int16_t growth, Bytes chunk_bytes, Bytes base_bytes, Counts& counts) noexcept {
    using Item = typename F::Item;
    Block<F> block;
    alignas(64) Item room[kBlockItems];
    alignas(64) std::uint8_t symbols[kBlockItems];
    alignas(64) std::array<std::uint8_t, kAllClasses> numbers, low_bits;
    for (std::size_t i = 0; i < kAllClasses; ++i) {
        numbers[i] = folded(i, sizeof(Item)).number;
        low_bits[i] = folded(i, sizeof(Item)).low_bits;
    }
    const std::size_t count = chunk_bytes.size() / sizeof(Item);
    int before = 0;
    for (std::size_t at = 0; at < count; at += kBlockItems) {
        const std::size_t items = count - at < kBlockItems ? count - at : kBlockItems;
        block.load(base_bytes.data() + at * sizeof(Item), items, growth);
        const auto* const chunk = block_of(chunk_bytes.data() + at * sizeof(Item), items, room);
        const int scale = scale_of(block, chunk, items, before);
        const int step = at == 0 ? 0 : at_least(at_most(scale - before, kMostScaleStep), -kMostScaleStep);
        before = at == 0 ? scale : before + step;
        ++counts[kClasses * kSymbols + static_cast<std::size_t>(step + kScaleBias)];
        block.classify(before);
        look_up(low_bits, block.classes, block.low_bits);
        look_up(numbers, block.classes, block.classes);
        find_symbols(block, chunk, items, symbols,
                     [](std::size_t, std::uint8_t, std::uint64_t, unsigned) { return true; });
        for (std::size_t i = 0; i < items; ++i) ++counts[block.classes[i] * kSymbols + symbols[i]];
    }
}

// The step of the scale that can be pushed and comes nearest to the one wanted; a step of 0 always can.
int pushable_step(const DeltaModel& model, int wanted) noexcept {
    const int step = at_least(at_most(wanted, kMostScaleStep), -kMostScaleStep);
    for (int found = step; found != 0; found += found < 0 ? 1 : -1)
        if (model.tables.can_push(model.bounds.size() + 1, static_cast<std::size_t>(found + kScaleBias))) return found;
    return 0;
}

// Appends bits, the lowest first; writes 8 bytes ahead.
class BitWriter {
   public:
    explicit BitWriter(std::uint8_t* out) noexcept : out_(out) {}

    void put(std::uint64_t bits, unsigned count) noexcept {
        held_ |= bits << used_;
        std::memcpy(out_, &held_, 8);
        used_ += count;
        out_ += used_ / 8;
        const unsigned whole = used_ & ~7U;
        held_ = whole == 64 ? 0 : held_ >> whole;
        used_ &= 7;
    }
    [[nodiscard]] std::uint8_t* end() const noexcept { return out_ + (used_ != 0 ? 1 : 0); }

   private:
    std::uint8_t* out_;
    std::uint64_t held_ = 0;
    unsigned used_ = 0;
};

template <class F>
void encode_items(const DeltaModel& model, Bytes chunk_bytes, Bytes base_bytes, const EncodeRoom& room,
                  EncodedParts& parts) noexcept {
    using Item = typename F::Item;
    Block<F> block;
    alignas(64) Item room_of_block[kBlockItems];
    std::uint8_t steps[kMaxBlocks], step_contexts[kMaxBlocks];
    const std::size_t count = chunk_bytes.size() / sizeof(Item);
    std::size_t blocks = 0;
    int scale = 0;
    BitWriter low_bits(room.low_bits);
    parts.first_scale = 0;
    for (std::size_t at = 0; at < count; at += kBlockItems, ++blocks) {
        const std::size_t items = count - at < kBlockItems ? count - at : kBlockItems;
        block.load(base_bytes.data() + at * sizeof(Item), items, model.growth);
        const auto* const chunk = block_of(chunk_bytes.data() + at * sizeof(Item), items, room_of_block);
        const int wanted = scale_of(block, chunk, items, scale);
        if (at == 0) {
            scale = wanted;
            parts.first_scale = static_cast<std::int16_t>(scale);
        }
        const int step = pushable_step(model, wanted - scale);
        scale += step;
        steps[blocks] = static_cast<std::uint8_t>(step + kScaleBias);
        block.classify(scale);
        std::uint8_t* const contexts = room.contexts + at;
        look_up(model.low_bits, block.classes, block.low_bits);
        look_up(model.contexts, block.classes, contexts);
        find_symbols(block, chunk, items, room.symbols + at,
                     [&](std::size_t i, std::uint8_t symbol, std::uint64_t bits, unsigned bit_count) {
                         if (!model.tables.can_push(contexts[i], symbol)) return false;
                         low_bits.put(bits, bit_count);
                         return true;
                     });
    }
    parts.low_bits_nbytes = static_cast<std::size_t>(low_bits.end() - room.low_bits);

    Pushing pushing;
    for (std::uint32_t& state : pushing.states) state = kLeastState;
    pushing.words = room.words_end;
    push(model.tables, room.contexts, room.symbols, count, pushing);
    std::memset(step_contexts, static_cast<int>(model.bounds.size() + 1), blocks);
    push(model.tables, step_contexts, steps, blocks, pushing);
    parts.words = pushing.words;
    std::memcpy(parts.states, pushing.states, sizeof parts.states);
}

// What a decoder has left of the parts of a payload.
struct Remaining {
    const std::uint8_t* low_bits;
    std::uint64_t bit;
    std::uint64_t bits;
    const std::uint8_t* escape;
    const std::uint8_t* escapes_end;
};

// Put the items right that are escapes or have bits that stand apart; return false where those run out.
template <class F>
bool finish_wide(const Block<F>& block, const std::uint8_t* symbols, std::size_t count,
                 typename F::Item* items,
                 Remaining& remaining) noexcept {
    using Item = typename F::Item;
    alignas(64) std::uint8_t is_wide[kBlockItems];
    alignas(64) std::uint8_t wide[kIndexRoom];
    for (std::size_t i = 0; i < kBlockItems; ++i)
        is_wide[i] = static_cast<std::uint8_t>(block.low_bits[i] | (symbols[i] & kExactCodes));
    const std::size_t wide_count = find_nonzero(is_wide, count, wide);
    std::uint64_t bit = remaining.bit;
    for (std::size_t at = 0; at < wide_count; ++at) {
        const std::size_t i = wide[at];
        const unsigned symbol = symbols[i];
        if (symbol == kEscape) [[unlikely]] {
            if (remaining.escape == remaining.escapes_end) return false;
            std::memcpy(items + i, remaining.escape, sizeof(Item));
            remaining.escape += sizeof(Item);
            continue;
        }
        const unsigned code = symbol & kCodeMask;
        const bool is_exact = code < kExactCodes;
        const unsigned bits = block.low_bits[i] + (is_exact ? 0 : 4 + (code - kExactCodes) / 2);
        const std::uint64_t high = is_exact ? code : 2 + (code & 1);
        if (bit + bits > remaining.bits) [[unlikely]] return false;
        std::uint64_t window;
        std::memcpy(&window, remaining.low_bits + bit / 8, 8);
        window = window >> (bit % 8) & ((std::uint64_t{1} << bits) - 1);
        bit += bits;
        const std::uint64_t size = high << bits | window;
        const std::uint64_t difference = size ^ (0 - static_cast<std::uint64_t>(symbol >> kNegativeBit & 1));
        const auto sum = static_cast<Item>(block.expected[i] + difference);
        const auto flip = static_cast<Item>(static_cast<Item>(symbol >> kFlipBit) << (F::kBits - 1));
        items[i] = static_cast<Item>((sum & F::kMagnitude) | ((block.base[i] ^ flip) & F::kSign));
    }
    remaining.bit = bit;
    return true;
}

template <class F>
bool decode_items(const DeltaModel& model, const DecodeParts& parts, Bytes base_bytes, MutableBytes out) noexcept {
    using Item = typename F::Item;
    Block<F> block;
    alignas(64) Item room[kBlockItems];
    alignas(64) std::uint8_t contexts[kBlockItems], symbols[kBlockItems];
    std::uint8_t steps[kMaxBlocks], step_contexts[kMaxBlocks];
    const std::size_t count = out.size() / sizeof(Item);
    const std::size_t blocks = (count + kBlockItems - 1) / kBlockItems;
    Popping popping;
    std::memcpy(popping.states, parts.states, sizeof popping.states);
    for (const std::uint32_t state : popping.states)
        if (state < kLeastState || state >> 31 != 0) return false;
    popping.words = parts.words.data();
    popping.end = popping.words + parts.words.size();
    Remaining remaining{parts.low_bits.data(), 0, 8 * std::uint64_t{parts.low_bits.size()}, parts.escapes.data(),
                        parts.escapes.data() + parts.escapes.size()};
    std::memset(step_contexts, static_cast<int>(model.bounds.size() + 1), blocks);
    if (!pop(model.tables, step_contexts, steps, blocks, popping)) return false;
    int scale = parts.first_scale;
    for (std::size_t at = 0; at < count; at += kBlockItems) {
        const std::size_t in_block = count - at < kBlockItems ? count - at : kBlockItems;
        block.load(base_bytes.data() + at * sizeof(Item), in_block, model.growth);
        scale += steps[at / kBlockItems] - kScaleBias;
        block.classify(scale);
        look_up(model.low_bits, block.classes, block.low_bits);
        look_up(model.contexts, block.classes, contexts);
        if (!pop(model.tables, contexts, symbols, in_block, popping)) return false;
        const auto* const base = block.base;
        for (std::size_t i = 0; i < kBlockItems; ++i) {
            const auto size = static_cast<Item>(symbols[i] & kCodeMask);
            const auto negative = static_cast<Item>(Item{0} - static_cast<Item>(symbols[i] >> kNegativeBit & 1));
            const auto sum = static_cast<Item>(block.expected[i] + static_cast<Item>(size ^ negative));
            const auto flip = static_cast<Item>(static_cast<Item>(symbols[i] >> kFlipBit) << (F::kBits - 1));
            room[i] = static_cast<Item>((sum & F::kMagnitude) | ((base[i] ^ flip) & F::kSign));
        }
        if (!finish_wide(block, symbols, in_block, room, remaining)) return false;
        std::memcpy(out.data() + at * sizeof(Item), room, in_block * sizeof(Item));
    }
    for (const std::uint32_t state : popping.states)
        if (state != kLeastState) return false;
    if ((remaining.bit + 7) / 8 * 8 != remaining.bits) return false;
    if (remaining.bit % 8 != 0 && parts.low_bits.back() >> (remaining.bit % 8) != 0) return false;
    return popping.words == popping.end && remaining.escape == remaining.escapes_end;
}

template <class Function>
auto with_layout(Layout layout, Function&& function) noexcept {
    using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t, std::uint8_t;
    switch (layout) {
        case Layout::kBfloat16: return function(Float<uint16_t, int16_t, int32_t, 8, 7>{});
        case Layout::kFloat16: return function(Float<uint16_t, int16_t, int32_t, 5, 10>{});
        case Layout::kFloat64: return function(Float<uint64_t, int64_t, int64_t, 11, 52>{});
        case Layout::kFloat8E4M3: return function(Float<uint8_t, int16_t, int32_t, 4, 3>{});
        case Layout::kFloat8E5M2: return function(Float<uint8_t, int16_t, int32_t, 5, 2>{});
        default: return function(Float<uint32_t, int32_t, int32_t, 8, 23>{});
    }
}

void count_delta_chunk(Layout layout, std::int16_t growth, Bytes chunk, Bytes base, Counts& counts) noexcept {
    with_layout(layout, [&]<class F>(F) { count_items<F>(growth, chunk, base, counts); });
}

void encode_delta_chunk(const DeltaModel& model, Bytes chunk, Bytes base, const EncodeRoom& room,
                  EncodedParts& parts) noexcept {
    with_layout(model.layout, [&]<class F>(F) { encode_items<F>(model, chunk, base, room, parts); });
}

bool decode_delta_chunk(const DeltaModel& model, const DecodeParts& parts, Bytes base, MutableBytes out) noexcept {
    return with_layout(model.layout, [&]<class F>(F) { return decode_items<F>(model, parts, base, out); });
}

}  // namespace
}  // namespace lamella
