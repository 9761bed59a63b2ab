// The passes over a chunk are built once for each instruction set; this chooses among them when the program runs.
#pragma once

#include <string_view>
#include <vector>

#include "alone_passes.hpp"
#include "delta_passes.hpp"

namespace lamella {

struct Passes {
    std::string_view name;
    DeltaPasses delta;
    AlonePasses alone;
};

extern const Passes kPassesBaseline;
extern const Passes kPassesAvx2;
extern const Passes kPassesAvx512;

// Those in use: the fastest that this machine can run.
const Passes& passes() noexcept;

// The names of all that this machine can run, the fastest first.
std::vector<std::string_view> instruction_sets();

// Use others from now on, so that tests can compare all; return false where there are none of that name.
bool use_instruction_set(std::string_view name);

}  // namespace lamella
