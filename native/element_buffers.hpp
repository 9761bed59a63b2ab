// Buffers of elements that Python lends, and the Python faces of the kernels that take them.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string_view>

#include "bindings.hpp"
#include "borrowed.hpp"
#include "measure.hpp"

namespace lamella {

void bind_merge(nanobind::module_& module);

inline const Element* element_of(std::string_view dtype) {
    const Element* element = element_named(dtype);
    require(element != nullptr, "the dtype has no elements");
    return element;
}

inline Run run_of(const Borrowed& data, const Element* element, std::size_t count) {
    require(count <= data.size() * 8 && data.size() == nbytes_of(*element, count), "the data must be `count` elements");
    return {data.bytes(), element};
}

// Call `action` without the interpreter, if it has enough to do.
template <typename Action>
void released(std::size_t nbytes, Action action) {
    std::optional<nanobind::gil_scoped_release> released;
    if (nbytes >= kReleaseNbytes) released.emplace();
    action();
}

// A writable buffer of numbers of 8 bytes, aligned as NumPy and `array` align them.
template <typename Number>
std::span<Number> numbers_of(const Borrowed& buffer) {
    require(buffer.size() % sizeof(Number) == 0, "a buffer of numbers must be whole numbers");
    auto* data = reinterpret_cast<Number*>(buffer.mutable_bytes().data());
    require(reinterpret_cast<std::uintptr_t>(data) % alignof(Number) == 0, "a buffer of numbers must be aligned");
    return {data, buffer.size() / sizeof(Number)};
}

}  // namespace lamella
