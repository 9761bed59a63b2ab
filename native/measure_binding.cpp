// The Python face of the kernels that measure: it borrows buffers, checks every length and releases the interpreter.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include <bit>
#include <optional>

#include "element_buffers.hpp"
#include "measure.hpp"
#include "merge.hpp"

namespace nb = nanobind;
using namespace lamella;

namespace {

nb::tuple as_tuple(std::size_t count, const Measured& found, bool has_units) {
    nb::list ulps;
    if (has_units)
        for (std::size_t k = 0; k <= static_cast<std::size_t>(std::bit_width(found.ulp_max)); ++k) ulps.append(found.ulps[k]);
    return nb::make_tuple(count, found.changed, found.above, found.finite, found.both, found.sum_absolute,
                          found.max_absolute, found.dot, found.squares_before, found.squares_after,
                          found.squares_difference, found.nan_before, found.nan_after, found.infinite_before,
                          found.infinite_after, found.ulp_max, nb::tuple(ulps));
}

nb::tuple measure_buffers(nb::handle before, std::string_view dtype_before, nb::handle after,
                          std::string_view dtype_after, std::size_t count, double epsilon, nb::handle rows,
                          std::size_t row_items, std::size_t row_begin) {
    const Borrowed one(before, "the data before"), other(after, "the data after");
    const Run from = run_of(one, element_of(dtype_before), count), to = run_of(other, element_of(dtype_after), count);
    require(epsilon >= 0, "epsilon must not be negative");
    std::optional<Borrowed> lent;
    Rows asked;
    if (!rows.is_none()) {
        lent.emplace(rows, "the sums of rows", PyBUF_WRITABLE);
        require(row_begin < row_items, "the run must begin within a row");
        asked = {numbers_of<double>(*lent), row_items, row_begin};
        const std::size_t in_first = row_items - row_begin, behind = count < in_first ? 0 : count - in_first;
        const std::size_t touched = (count != 0) + behind / row_items + (behind % row_items != 0);
        require(asked.sums.size() == touched, "the sums of rows must be those of the rows that the run touches");
    }
    Measured found;
    released(one.size() + other.size(), [&] { measure_choice.passes().measure(from, to, count, epsilon, asked, found); });
    return as_tuple(count, found, coarser(*from.element, *to.element) != nullptr);
}

nb::tuple survey_buffer(nb::handle data, std::string_view dtype, std::size_t count) {
    const Borrowed lent(data, "the data");
    const Run run = run_of(lent, element_of(dtype), count);
    Surveyed found;
    released(lent.size(), [&] { measure_choice.passes().survey(run, count, found); });
    return nb::make_tuple(count, found.nan, found.infinite, found.zeros, found.subnormal, found.minimum, found.maximum,
                          found.total, found.squares);
}

void decode_buffer(nb::handle data, std::string_view dtype, std::size_t count, nb::handle out) {
    const Borrowed lent(data, "the data");
    const Run run = run_of(lent, element_of(dtype), count);
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    require(to.size() / sizeof(double) == count && to.size() % sizeof(double) == 0, "out must be `count` doubles");
    released(lent.size(), [&] { measure_choice.passes().decode(run, count, to.mutable_bytes()); });
}

void count_buffer(nb::handle data, std::string_view dtype, std::size_t count, nb::handle counts) {
    const Borrowed lent(data, "the data");
    const Run run = run_of(lent, element_of(dtype), count);
    const Borrowed to(counts, "the counts", PyBUF_WRITABLE);
    require(to.size() == kBins * sizeof(std::uint64_t), "the counts must be 65,536 numbers of 8 bytes");
    const std::span<std::uint64_t> bins = numbers_of<std::uint64_t>(to);
    released(lent.size(), [&] { measure_choice.passes().count_values(run, count, bins); });
}

nb::list instruction_sets() {
    nb::list names;
    for (const std::string_view name : measure_choice.names()) names.append(nb::str(name.data(), name.size()));
    return names;
}

void use(std::string_view name) {
    require(measure_choice.use(name) && merge_choice.use(name), "this machine has no such instruction set");
}

}  // namespace

NB_MODULE(_native, module) {
    using namespace nb::literals;
    module.doc() = "The compiled kernels that measure and merge tensors; lamella.model's modules `*_reference` define them.";
    module.def("measure", &measure_buffers, "before"_a, "dtype_before"_a, "after"_a, "dtype_after"_a, "count"_a,
               "epsilon"_a, "rows"_a.none() = nb::none(), "row_items"_a = 0, "row_begin"_a = 0);
    module.def("survey", &survey_buffer, "data"_a, "dtype"_a, "count"_a);
    module.def("decode", &decode_buffer, "data"_a, "dtype"_a, "count"_a, "out"_a);
    module.def("count_values", &count_buffer, "data"_a, "dtype"_a, "count"_a, "counts"_a);
    module.def("instruction_sets", &instruction_sets);
    module.def("use_instruction_set", &use, "name"_a);
    bind_merge(module);
}
