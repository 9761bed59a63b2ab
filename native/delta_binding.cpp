#include "bindings.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "borrowed.hpp"
#include "delta.hpp"
#include "instructions.hpp"

namespace nb = nanobind;

namespace lamella {
namespace {

Layout layout_of(std::int64_t number) {
    require(number >= 1 && number <= 6, "layout must be from 1 to 6");
    return static_cast<Layout>(number);
}

void require_chunks(Layout layout, const Borrowed& chunk, const Borrowed& base) {
    require(chunk.size() == base.size(), "the base must be as long as the chunk");
    require(chunk.size() % item_nbytes_of(layout) == 0, "the chunk must be whole items");
    require(chunk.size() / item_nbytes_of(layout) <= kMaxChunkItems, "the chunk is too long");
}

std::int16_t growth_of(std::int64_t growth) {
    require(growth >= -32768 && growth <= 32767, "growth must have 16 bits");
    return static_cast<std::int16_t>(growth);
}

// The 16-bit numbers in `bytes`.
std::vector<std::uint16_t> numbers_in(const Borrowed& bytes) {
    std::vector<std::uint16_t> numbers(bytes.size() / 2);
    std::memcpy(numbers.data(), bytes.bytes().data(), 2 * numbers.size());
    return numbers;
}

DeltaModel make_model(std::int64_t layout, std::int64_t growth, nb::handle bounds_lent, nb::handle stays_lent,
                      nb::handle frequencies_lent) {
    const Borrowed bounds(bounds_lent, "bounds"), stays(stays_lent, "stays"), frequencies(frequencies_lent, "frequencies");
    const std::size_t tables = bounds.size() + 2;
    require(bounds.size() < kClasses, "there are more bounds than classes");
    std::uint8_t least = 0;
    for (const std::uint8_t bound : bounds.bytes()) {
        require(bound > least && bound < kClasses, "bounds must rise and be classes");
        least = bound;
    }
    require(stays.size() == 2 * kClasses, "there must be a share for each class");
    const std::vector<std::uint16_t> shares = numbers_in(stays);
    require(std::ranges::all_of(shares, [](std::uint16_t share) { return share != 0 && share < kFlagTotal; }),
            "a share must be a part of the whole");
    require(frequencies.size() == tables * kSymbols * 2, "there must be 256 frequencies for each context");
    const std::vector<std::uint16_t> numbers = numbers_in(frequencies);
    for (std::size_t table = 0; table < tables; ++table) {
        const auto row = numbers.begin() + static_cast<std::ptrdiff_t>(table * kSymbols);
        const auto needed = static_cast<std::ptrdiff_t>(table + 1 == tables ? kNoStep : kEscape);
        require(std::all_of(row, row + kSymbols, [](std::uint16_t number) { return number < kProbabilityTotal; }) &&
                    std::accumulate(row, row + kSymbols, 0U) == kProbabilityTotal && row[needed] != 0,
                "the frequencies of a context must add up");
        if (table + 1 == tables) continue;
        for (std::size_t symbol = 0; symbol < kEscape; ++symbol)
            require((symbol != 0 && symbol % 64 <= kMostCode) || numbers[table * kSymbols + symbol] == 0,
                    "a context must have no symbols that stand for nothing");
    }
    return make_delta_model(layout_of(layout), growth_of(growth), {bounds.bytes().begin(), bounds.bytes().end()}, shares,
                            numbers);
}

nb::bytes encode(const DeltaModel& model, nb::handle chunk_lent, nb::handle base_lent) {
    const Borrowed chunk(chunk_lent, "the chunk"), base(base_lent, "the base");
    require_chunks(model.layout, chunk, base);
    thread_local std::vector<std::uint8_t> payload;
    std::size_t nbytes = 0;
    {
        std::optional<nb::gil_scoped_release> released;
        if (chunk.size() >= kReleaseNbytes) released.emplace();
        if (payload.size() < chunk.size()) payload.resize(chunk.size());
        nbytes = encode_delta(model, chunk.bytes(), base.bytes(), payload);
        if (nbytes > payload.size()) {
            payload.resize(nbytes);
            nbytes = encode_delta(model, chunk.bytes(), base.bytes(), payload);
        }
    }
    return nb::bytes(payload.data(), nbytes);
}

bool decode(const DeltaModel& model, nb::handle payload_lent, nb::handle base_lent, nb::handle out_lent) {
    const Borrowed payload(payload_lent, "the payload"), base(base_lent, "the base");
    const Borrowed out(out_lent, "out", PyBUF_WRITABLE);
    require_chunks(model.layout, out, base);
    std::optional<nb::gil_scoped_release> released;
    if (out.size() >= kReleaseNbytes) released.emplace();
    return decode_delta(model, payload.bytes(), base.bytes(), out.mutable_bytes());
}

void count(std::int64_t layout, std::int64_t growth, nb::handle chunk_lent, nb::handle base_lent,
           nb::handle counts_lent) {
    const Borrowed chunk(chunk_lent, "the chunk"), base(base_lent, "the base");
    const Borrowed counts(counts_lent, "counts", PyBUF_WRITABLE);
    require_chunks(layout_of(layout), chunk, base);
    require(counts.size() == sizeof(Counts), "counts must have room for every class");
    Counts held;
    std::memcpy(held.data(), counts.bytes().data(), sizeof held);
    count_delta(layout_of(layout), growth_of(growth), chunk.bytes(), base.bytes(), held);
    std::memcpy(counts.mutable_bytes().data(), held.data(), sizeof held);
}

std::int64_t growth(std::int64_t layout, nb::handle chunk_lent, nb::handle base_lent) {
    const Borrowed chunk(chunk_lent, "the chunk"), base(base_lent, "the base");
    require_chunks(layout_of(layout), chunk, base);
    return fit_growth(layout_of(layout), chunk.bytes(), base.bytes());
}

nb::tuple contexts(nb::handle counts_lent) {
    const Borrowed counts(counts_lent, "counts");
    require(counts.size() == sizeof(Counts), "counts must have room for every class");
    Counts held;
    std::memcpy(held.data(), counts.bytes().data(), sizeof held);
    const Fitted fitted = fit_contexts(held);
    return nb::make_tuple(nb::bytes(fitted.bounds.data(), fitted.bounds.size()),
                          nb::bytes(fitted.stays.data(), 2 * fitted.stays.size()),
                          nb::bytes(fitted.frequencies.data(), 2 * fitted.frequencies.size()));
}

nb::list names_of_instruction_sets() {
    nb::list names;
    for (const std::string_view name : instruction_sets()) names.append(nb::str(name.data(), name.size()));
    return names;
}

void use(nb::str name) { require(use_instruction_set(name.c_str()), "this machine has no such instruction set"); }

}  // namespace

void bind_delta(nb::module_& module) {
    using namespace nb::literals;
    nb::class_<DeltaModel>(module, "DeltaModel")
        .def("__init__",
             [](DeltaModel* self, std::int64_t layout, std::int64_t growth, nb::handle bounds, nb::handle stays,
                nb::handle frequencies) {
                 new (self) DeltaModel(make_model(layout, growth, bounds, stays, frequencies));
             },
             "layout"_a, "growth"_a, "bounds"_a, "stays"_a, "frequencies"_a)
        .def("encode", &encode, "chunk"_a, "base"_a)
        .def("decode", &decode, "payload"_a, "base"_a, "out"_a);
    module.def("fit_growth", &growth, "layout"_a, "chunk"_a, "base"_a);
    module.def("count_delta", &count, "layout"_a, "growth"_a, "chunk"_a, "base"_a, "counts"_a);
    module.def("fit_contexts", &contexts, "counts"_a);
    module.def("instruction_sets", &names_of_instruction_sets);
    module.def("use_instruction_set", &use, "name"_a);
}

}  // namespace lamella
