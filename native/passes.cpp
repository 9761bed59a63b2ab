// Built once for each instruction set, with LAMELLA_PASSES and LAMELLA_INSTRUCTIONS the names of the result. What is
// included is internal to this file, or the linker could take one build's function for another's.
#include "alone_lanes.hpp"
#include "delta_lanes.hpp"
#include "instructions.hpp"

namespace lamella {

const Passes LAMELLA_PASSES{LAMELLA_INSTRUCTIONS,
                            {&count_delta_chunk, &encode_delta_chunk, &decode_delta_chunk},
                            {&count_alone_chunk, &encode_alone_chunk, &decode_alone_chunk}};

}  // namespace lamella
