#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "alone.hpp"
#include "bindings.hpp"
#include "borrowed.hpp"

namespace nb = nanobind;

namespace lamella {
namespace {

struct AloneModel {
    std::size_t item_nbytes;
    Tables tables;
};

std::size_t checked_width(std::int64_t item_nbytes) {
    require(item_nbytes == 1 || item_nbytes == 2 || item_nbytes == 4 || item_nbytes == 8,
            "item_nbytes must be 1, 2, 4 or 8");
    return static_cast<std::size_t>(item_nbytes);
}

void require_items(std::size_t item_nbytes, const Borrowed& chunk) {
    require(chunk.size() % item_nbytes == 0, "the chunk must be whole items");
}

AloneModel make_model(std::int64_t item_nbytes, nb::handle frequencies_lent) {
    const Borrowed frequencies(frequencies_lent, "frequencies");
    require(frequencies.size() == kSymbols * 2, "there must be 256 frequencies");
    std::vector<std::uint16_t> numbers(kSymbols);
    std::memcpy(numbers.data(), frequencies.bytes().data(), frequencies.size());
    require(std::ranges::all_of(numbers, [](std::uint16_t number) { return number < kProbabilityTotal; }) &&
                std::accumulate(numbers.begin(), numbers.end(), 0U) == kProbabilityTotal && numbers[kEscape] != 0,
            "the frequencies must add up");
    return {checked_width(item_nbytes), Tables(numbers)};
}

nb::bytes encode(const AloneModel& model, nb::handle chunk_lent) {
    const Borrowed chunk(chunk_lent, "the chunk");
    require_items(model.item_nbytes, chunk);
    thread_local std::vector<std::uint8_t> payload;
    std::size_t nbytes = 0;
    {
        std::optional<nb::gil_scoped_release> released;
        if (chunk.size() >= kReleaseNbytes) released.emplace();
        if (payload.size() < chunk.size()) payload.resize(chunk.size());
        nbytes = encode_alone(model.tables, model.item_nbytes, chunk.bytes(), payload);
        if (nbytes > payload.size()) {
            payload.resize(nbytes);
            nbytes = encode_alone(model.tables, model.item_nbytes, chunk.bytes(), payload);
        }
    }
    return nb::bytes(payload.data(), nbytes);
}

bool decode(const AloneModel& model, nb::handle payload_lent, nb::handle out_lent) {
    const Borrowed payload(payload_lent, "the payload"), out(out_lent, "out", PyBUF_WRITABLE);
    require_items(model.item_nbytes, out);
    std::optional<nb::gil_scoped_release> released;
    if (out.size() >= kReleaseNbytes) released.emplace();
    return decode_alone(model.tables, model.item_nbytes, payload.bytes(), out.mutable_bytes());
}

void count(std::int64_t item_nbytes, nb::handle chunk_lent, nb::handle counts_lent) {
    const Borrowed chunk(chunk_lent, "the chunk"), counts(counts_lent, "counts", PyBUF_WRITABLE);
    require_items(checked_width(item_nbytes), chunk);
    require(counts.size() == sizeof(ByteCounts), "counts must be 256 numbers");
    ByteCounts held;
    std::memcpy(held.data(), counts.bytes().data(), sizeof held);
    count_alone(checked_width(item_nbytes), chunk.bytes(), held);
    std::memcpy(counts.mutable_bytes().data(), held.data(), sizeof held);
}

nb::bytes fit(nb::handle counts_lent) {
    const Borrowed counts(counts_lent, "counts");
    require(counts.size() == sizeof(ByteCounts), "counts must be 256 numbers");
    ByteCounts held;
    std::memcpy(held.data(), counts.bytes().data(), sizeof held);
    const std::vector<std::uint16_t> frequencies = fit_alone(held);
    return nb::bytes(frequencies.data(), 2 * frequencies.size());
}

}  // namespace

void bind_alone(nb::module_& module) {
    using namespace nb::literals;
    nb::class_<AloneModel>(module, "AloneModel")
        .def("__init__",
             [](AloneModel* self, std::int64_t item_nbytes, nb::handle frequencies) {
                 new (self) AloneModel(make_model(item_nbytes, frequencies));
             },
             "item_nbytes"_a, "frequencies"_a)
        .def("encode", &encode, "chunk"_a)
        .def("decode", &decode, "payload"_a, "out"_a);
    module.def("count_alone", &count, "item_nbytes"_a, "chunk"_a, "counts"_a);
    module.def("fit_alone", &fit, "counts"_a);
}

}  // namespace lamella
