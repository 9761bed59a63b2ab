// The Python faces of the kernels that have tables.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>

namespace lamella {

// Below so many bytes, giving the interpreter away takes longer than encoding or decoding them.
inline constexpr std::size_t kReleaseNbytes = std::size_t{1} << 15;

void bind_alone(nanobind::module_& module);
void bind_delta(nanobind::module_& module);

}  // namespace lamella
