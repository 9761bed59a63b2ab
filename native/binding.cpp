// The Python face of the kernels: it borrows buffers, checks every length and releases the interpreter.
#include <nanobind/nanobind.h>

#include <bit>
#include <cstdint>
#include <optional>

#include "borrowed.hpp"
#include "bindings.hpp"
#include "kernels.hpp"

namespace nb = nanobind;
using lamella::Borrowed;
using lamella::require;

namespace {

constexpr auto kWindowNbytes = static_cast<std::int64_t>(lamella::kWindowNbytes);

using PlaneKernel = void (*)(lamella::Bytes, std::size_t, lamella::Bytes, lamella::MutableBytes) noexcept;

// A chunk of bf16 is split in some seven microseconds; giving the interpreter away and waiting to get it back takes
// longer, and two threads that do so for every chunk spend a third of their time on it.
constexpr std::size_t kReleasePlanesNbytes = std::size_t{1} << 20;

template <PlaneKernel kKernel>
void run_plane_kernel(nb::handle source, std::int64_t item_nbytes, nb::handle base, nb::handle out) {
    const Borrowed from(source, "the input");
    std::optional<Borrowed> against;
    if (!base.is_none()) against.emplace(base, "the base");
    const Borrowed to(out, "out", PyBUF_WRITABLE);
    require(item_nbytes == 1 || item_nbytes == 2 || item_nbytes == 4 || item_nbytes == 8,
            "item_nbytes must be 1, 2, 4 or 8");
    require(to.size() == from.size(), "out must be as long as the input");
    require(!against || against->size() == from.size(), "the base must be as long as the input");
    const lamella::Bytes reference = against ? against->bytes() : lamella::Bytes{};
    std::optional<nb::gil_scoped_release> released;
    if (from.size() >= kReleasePlanesNbytes) released.emplace();
    kKernel(from.bytes(), static_cast<std::size_t>(item_nbytes), reference, to.mutable_bytes());
}

std::size_t find_cut(nb::handle data, nb::handle gear, std::int64_t minimum, std::int64_t average,
                     std::int64_t maximum) {
    const Borrowed bytes(data, "data");
    const Borrowed table(gear, "gear");
    require(table.size() == lamella::kGearNbytes, "gear must be 256 numbers of 8 bytes");
    require(kWindowNbytes <= minimum && minimum <= average && average <= maximum,
            "64 <= minimum <= average <= maximum must hold");
    require(std::has_single_bit(static_cast<std::uint64_t>(average)), "average must be a power of two");
    nb::gil_scoped_release released;
    return lamella::find_cut(bytes.bytes(), table.bytes(), static_cast<std::size_t>(minimum),
                             static_cast<std::size_t>(average), static_cast<std::size_t>(maximum));
}

}  // namespace

NB_MODULE(_native, module) {
    using namespace nb::literals;
    // Models are kept by caches of the interpreter, which nobody empties when it ends.
    nb::set_leak_warnings(false);
    module.doc() = "The compiled kernels of the codec; `lamella.codec.reference` defines what each returns.";
    module.def("split_planes", &run_plane_kernel<lamella::split_planes>, "source"_a, "item_nbytes"_a,
               "base"_a.none(), "out"_a);
    module.def("join_planes", &run_plane_kernel<lamella::join_planes>, "planes"_a, "item_nbytes"_a, "base"_a.none(),
               "out"_a);
    module.def("find_cut", &find_cut, "data"_a, "gear"_a, "minimum"_a, "average"_a, "maximum"_a);
    lamella::bind_alone(module);
    lamella::bind_delta(module);
}
