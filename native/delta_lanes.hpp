// The passes of delta.hpp for the instruction set that the including file is built for.
#pragma once

#include <cstring>
#include <utility>

#include "delta_passes.hpp"
#include "delta_wide.hpp"
#include "flags_lanes.hpp"

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
    const std::size_t count = chunk_bytes.size() / sizeof(Item);
    int before = 0;
    bool is_first = true;
    for (std::size_t at = 0; at < count; at += kBlockItems) {
        const std::size_t items = count - at < kBlockItems ? count - at : kBlockItems;
        if (std::memcmp(chunk_bytes.data() + at * sizeof(Item), base_bytes.data() + at * sizeof(Item),
                        items * sizeof(Item)) == 0) {
            ++counts[kClasses * kSymbols + kSameBlock];
            continue;
        }
        block.load(base_bytes.data() + at * sizeof(Item), items, growth);
        const auto* const chunk = block_of(chunk_bytes.data() + at * sizeof(Item), items, room);
        const int scale = scale_of(block, chunk, items, before);
        const int step = is_first ? 0 : at_least(at_most(scale - before, kMostScaleStep), -kMostScaleStep);
        before = is_first ? scale : before + step;
        is_first = false;
        ++counts[kClasses * kSymbols + static_cast<std::size_t>(step + kScaleBias)];
        block.classify(before);
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
    alignas(64) std::uint8_t symbols[kBlockItems];
    std::uint8_t steps[kMaxBlocks], step_contexts[kMaxBlocks];
    const std::size_t count = chunk_bytes.size() / sizeof(Item);
    std::size_t blocks = 0;
    int scale = 0;
    BitWriter low_bits(room.low_bits);
    parts.first_scale = 0;
    std::size_t moved_count = 0;
    const std::size_t step_context = model.bounds.size() + 1;
    const bool may_be_same = model.tables.can_push(step_context, kSameBlock);
    bool is_first = true;
    for (std::size_t at = 0; at < count; at += kBlockItems, ++blocks) {
        const std::size_t items = count - at < kBlockItems ? count - at : kBlockItems;
        std::uint64_t* const moved = room.moved + at / 64;
        if (may_be_same && std::memcmp(chunk_bytes.data() + at * sizeof(Item), base_bytes.data() + at * sizeof(Item),
                                       items * sizeof(Item)) == 0) {
            steps[blocks] = kSameBlock;
            std::memset(moved, 0, kBlockItems / 8);
            continue;
        }
        block.load(base_bytes.data() + at * sizeof(Item), items, model.growth);
        const auto* const chunk = block_of(chunk_bytes.data() + at * sizeof(Item), items, room_of_block);
        const int wanted = scale_of(block, chunk, items, scale);
        if (std::exchange(is_first, false)) {
            scale = wanted;
            parts.first_scale = static_cast<std::int16_t>(scale);
        }
        const int step = pushable_step(model, wanted - scale);
        scale += step;
        steps[blocks] = static_cast<std::uint8_t>(step + kScaleBias);
        block.classify(scale);
        std::memcpy(room.classes + at, block.classes, kBlockItems);
        find_symbols(block, chunk, items, symbols,
                     [&](std::size_t i, std::uint8_t symbol, std::uint64_t bits, unsigned bit_count) {
                         const std::size_t context = model.contexts[block.classes[i]];
                         if (symbol != 0 && !model.tables.can_push(context, symbol)) return false;
                         low_bits.put(bits, bit_count);
                         return true;
                     });
        find_nonzero(symbols, items, moved);
        take(block.classes, moved, room.contexts + moved_count);
        moved_count += take(symbols, moved, room.symbols + moved_count);
    }
    parts.low_bits_nbytes = static_cast<std::size_t>(low_bits.end() - room.low_bits);
    parts.moved_count = moved_count;

    Pushing pushing;
    begin(pushing, room.words_end);
    look_up(model.contexts, room.contexts, moved_count);
    push(model.tables, room.contexts, room.symbols, moved_count, pushing);
    for (std::size_t i = blocks; i-- != 0;) {
        const std::size_t at = i * kBlockItems, items = count - at < kBlockItems ? count - at : kBlockItems;
        if (steps[i] != kSameBlock) push_flags(model.stays, room.classes + at, room.moved + at / 64, items, pushing);
    }
    std::memset(step_contexts, static_cast<int>(step_context), blocks);
    push(model.tables, step_contexts, steps, blocks, pushing);
    parts.words = pushing.words;
    std::memcpy(parts.states, pushing.states, sizeof parts.states);
}

// Pop the steps of the scales, which items moved, and the symbols of those; leave the low bits of all.
template <class F>
bool pop_symbols(const DeltaModel& model, const DecodeParts& parts, Bytes base_bytes, const DecodeRoom& room,
                 std::uint8_t* steps) noexcept {
    using Item = typename F::Item;
    Block<F> block;
    std::uint8_t step_contexts[kMaxBlocks];
    const std::size_t count = base_bytes.size() / sizeof(Item);
    const std::size_t blocks = (count + kBlockItems - 1) / kBlockItems;
    Popping popping;
    if (!begin(popping, parts.states, parts.words.data(), parts.words.data() + parts.words.size())) return false;
    std::memset(step_contexts, static_cast<int>(model.bounds.size() + 1), blocks);
    if (!pop(model.tables, step_contexts, steps, blocks, popping)) return false;
    int scale = parts.first_scale;
    std::size_t moved_count = 0;
    for (std::size_t at = 0; at < count; at += kBlockItems) {
        const std::size_t items = count - at < kBlockItems ? count - at : kBlockItems;
        if (steps[at / kBlockItems] == kSameBlock) continue;
        block.base = block_of(base_bytes.data() + at * sizeof(Item), items, block.room);
        scale += steps[at / kBlockItems] - kScaleBias;
        block.classify(scale);
        std::memcpy(room.low_bits + at, block.low_bits, kBlockItems);
        std::uint64_t* const moved = room.moved + at / 64;
        std::memset(moved, 0, kBlockItems / 8);
        if (!pop_flags(model.stays, block.classes, moved, items, popping)) return false;
        moved_count += take(block.classes, moved, room.contexts + moved_count);
    }
    look_up(model.contexts, room.contexts, moved_count);
    return pop(model.tables, room.contexts, room.symbols, moved_count, popping) && is_finished(popping);
}

template <class F>
bool decode_items(const DeltaModel& model, const DecodeParts& parts, Bytes base_bytes, const DecodeRoom& room,
                  MutableBytes out) noexcept {
    using Item = typename F::Item;
    std::uint8_t steps[kMaxBlocks];
    if (!pop_symbols<F>(model, parts, base_bytes, room, steps)) return false;
    Block<F> block;
    alignas(64) Item last[kBlockItems];
    alignas(64) std::uint8_t symbols[kBlockItems];
    Remaining remaining{parts.low_bits.data(), 0, 8 * std::uint64_t{parts.low_bits.size()}, parts.escapes.data(),
                        parts.escapes.data() + parts.escapes.size(), false};
    const std::size_t count = out.size() / sizeof(Item);
    std::size_t moved_count = 0;
    for (std::size_t at = 0; at < count; at += kBlockItems) {
        const std::size_t in_block = count - at < kBlockItems ? count - at : kBlockItems;
        std::uint8_t* const to = out.data() + at * sizeof(Item);
        if (steps[at / kBlockItems] == kSameBlock) {
            std::memcpy(to, base_bytes.data() + at * sizeof(Item), in_block * sizeof(Item));
            continue;
        }
        auto* const items = in_block == kBlockItems ? reinterpret_cast<Unaligned<Item>*>(to) : last;
        block.load(base_bytes.data() + at * sizeof(Item), in_block, model.growth);
        std::memset(symbols, 0, kBlockItems);
        moved_count += put_back(room.symbols + moved_count, room.moved + at / 64, symbols);
        std::memcpy(block.low_bits, room.low_bits + at, kBlockItems);
        if (!find_items(block, symbols, in_block, items, remaining)) return false;
        if (in_block != kBlockItems) std::memcpy(to, last, in_block * sizeof(Item));
    }
    if ((remaining.bit + 7) / 8 * 8 != remaining.bits) return false;
    if (remaining.bit % 8 != 0 && parts.low_bits.back() >> (remaining.bit % 8) != 0) return false;
    return remaining.escape == remaining.escapes_end;
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

bool decode_delta_chunk(const DeltaModel& model, const DecodeParts& parts, Bytes base, const DecodeRoom& room,
                        MutableBytes out) noexcept {
    return with_layout(model.layout, [&]<class F>(F) { return decode_items<F>(model, parts, base, room, out); });
}

}  // namespace
}  // namespace lamella
