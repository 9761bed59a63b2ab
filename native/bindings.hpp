// The Python faces of the kernels that have tables.
#pragma once

#include <nanobind/nanobind.h>

namespace lamella {

void bind_alone(nanobind::module_& module);
void bind_delta(nanobind::module_& module);

}  // namespace lamella
