// What an encoder chooses once an object: the growth that it expects, the contexts and their tables.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "delta.hpp"
#include "fit.hpp"

namespace lamella {
namespace {

constexpr std::size_t kSampledItems = 4096;
constexpr std::size_t kMostContexts = 8;
// What a table takes in a head, in bits: so much for each symbol, and for itself.
constexpr std::uint64_t kSymbolBits = 10;
constexpr std::uint64_t kTableBits = 16;
// Contexts are merged while that costs at most one part in so many.
constexpr std::uint64_t kMergedShare = 1024;

// The median over evenly spread items of what each grew by.
template <class Item, int kMantissaBits>
std::int16_t median_growth(Bytes chunk, Bytes base) {
    constexpr Item kMagnitude = static_cast<Item>(~Item{0}) >> 1;
    const auto item_at = [](Bytes bytes, std::size_t index) {
        Item item;
        std::memcpy(&item, bytes.data() + index * sizeof(Item), sizeof(Item));
        return static_cast<Item>(item & kMagnitude);
    };
    const std::size_t count = chunk.size() / sizeof(Item);
    const std::size_t sampled = std::min(count, kSampledItems);
    if (sampled == 0) return 0;
    std::array<double, kSampledItems> growths;
    for (std::size_t i = 0; i < sampled; ++i) {
        const Item from = item_at(base, i * count / sampled), to = item_at(chunk, i * count / sampled);
        const Item mantissa = (from & ((Item{1} << kMantissaBits) - 1)) | Item{1} << kMantissaBits;
        const auto grown = static_cast<std::int64_t>(to) - static_cast<std::int64_t>(from);
        growths[i] = static_cast<double>(grown) / static_cast<double>(mantissa);
    }
    double* const middle = growths.data() + sampled / 2;
    std::nth_element(growths.data(), middle, growths.data() + sampled);
    return static_cast<std::int16_t>(std::clamp(std::nearbyint(*middle * (1 << 24)), -32768.0, 32767.0));
}

// log2 of a number from 1 up to 2**47, in units of 2**-16, a hundredth too small or large.
std::uint64_t logarithm(std::uint64_t number) noexcept {
    const auto exponent = static_cast<unsigned>(std::bit_width(number)) - 1;
    const std::uint64_t fraction = (number << 16 >> exponent) - 65536;
    return (std::uint64_t{exponent} << 16) + fraction + ((fraction * (65536 - fraction) >> 16) * 22525 >> 16);
}

// The bits that a table of its own costs for these symbols, and the table, in units of 2**-16.
struct Cost {
    std::uint64_t coded;
    std::uint64_t table;
};

Cost cost_of(const Histogram& histogram) noexcept {
    std::uint64_t total = 0, bits = 0, symbols = 0;
    for (const std::uint64_t count : histogram) total += count;
    for (const std::uint64_t count : histogram) {
        if (count == 0) continue;
        bits += count * (logarithm(total) - logarithm(count));
        ++symbols;
    }
    return {bits, (kTableBits + kSymbolBits * symbols) << 16};
}

struct Context {
    std::uint8_t first_class;
    Histogram histogram;
    Cost cost;
};

Context merged(const Context& lower, const Context& upper) noexcept {
    Context both{lower.first_class, lower.histogram, {}};
    for (std::size_t i = 0; i < kSymbols; ++i) both.histogram[i] += upper.histogram[i];
    both.cost = cost_of(both.histogram);
    return both;
}

std::int64_t loss_of(const Context& both, const Context& lower, const Context& upper) noexcept {
    return static_cast<std::int64_t>(both.cost.coded + both.cost.table) -
           static_cast<std::int64_t>(lower.cost.coded + lower.cost.table + upper.cost.coded + upper.cost.table);
}

// Merge neighbours, always the two that lose least by it, while they lose next to nothing or are too many.
void merge_contexts(std::vector<Context>& contexts) {
    std::uint64_t total = 0;
    for (const Context& context : contexts) total += context.cost.coded;
    std::vector<Context> pairs;
    for (std::size_t i = 0; i + 1 < contexts.size(); ++i) pairs.push_back(merged(contexts[i], contexts[i + 1]));
    while (!pairs.empty()) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < pairs.size(); ++i)
            if (loss_of(pairs[i], contexts[i], contexts[i + 1]) < loss_of(pairs[best], contexts[best], contexts[best + 1]))
                best = i;
        const std::int64_t loss = loss_of(pairs[best], contexts[best], contexts[best + 1]);
        if (contexts.size() <= kMostContexts && loss > static_cast<std::int64_t>(total / kMergedShare)) return;
        contexts[best] = pairs[best];
        contexts.erase(contexts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
        pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(best));
        if (best < pairs.size()) pairs[best] = merged(contexts[best], contexts[best + 1]);
        if (best > 0) pairs[best - 1] = merged(contexts[best - 1], contexts[best]);
    }
}

// The share of those that stayed; half where there are none, and what was never seen is thought possible.
std::uint16_t share_of(std::uint64_t stayed, std::uint64_t moved) noexcept {
    const std::uint64_t share = (2 * stayed + 1) * kFlagTotal / (2 * (stayed + moved) + 2);
    return static_cast<std::uint16_t>(std::clamp<std::uint64_t>(share, 1, kFlagTotal - 1));
}

}  // namespace

std::int16_t fit_growth(Layout layout, Bytes chunk, Bytes base) {
    if (layout == Layout::kFloat32) return median_growth<std::uint32_t, 23>(chunk, base);
    if (layout == Layout::kFloat64) return median_growth<std::uint64_t, 52>(chunk, base);
    return 0;
}

Fitted fit_contexts(const Counts& counts) {
    std::vector<Context> contexts(kClasses);
    Fitted fitted;
    for (std::size_t i = 0; i < kClasses; ++i) {
        Histogram& histogram = contexts[i].histogram;
        std::copy_n(counts.begin() + static_cast<std::ptrdiff_t>(i * kSymbols), kSymbols, histogram.begin());
        const std::uint64_t stayed = std::exchange(histogram[0], 0);
        fitted.stays[i] = share_of(stayed, std::accumulate(histogram.begin(), histogram.end(), std::uint64_t{0}));
        contexts[i].first_class = static_cast<std::uint8_t>(i);
        contexts[i].cost = cost_of(histogram);
    }
    merge_contexts(contexts);
    for (Context& context : contexts) {
        if (context.first_class != 0) fitted.bounds.push_back(context.first_class);
        // Every table has two symbols at least, so that no frequency is the whole.
        ++context.histogram[kEscape];
        context.histogram[1] += context.histogram[1] == 0 ? 1 : 0;
        append_frequencies(context.histogram, fitted.frequencies);
    }
    Histogram steps;
    std::copy_n(counts.begin() + static_cast<std::ptrdiff_t>(kClasses * kSymbols), kSymbols, steps.begin());
    for (std::size_t step = kNoStep - 8; step <= kNoStep + 8; ++step) ++steps[step];
    ++steps[kSameBlock];
    append_frequencies(steps, fitted.frequencies);
    return fitted;
}

}  // namespace lamella
