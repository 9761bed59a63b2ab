// Built once for each instruction set, with LAMELLA_PASSES and LAMELLA_INSTRUCTIONS the names of the result. What is
// included is internal to this file, or the linker could take one build's function for another's.
#include "elect_tiles.hpp"
#include "merge_tiles.hpp"

namespace lamella {

const MergePasses LAMELLA_PASSES{LAMELLA_INSTRUCTIONS, &encode_tiles, &weighted_sum_tiles,   &ordered_mean_tiles,
                                 &elect_tiles,         &gram_tiles,   &count_magnitude_tiles};

}  // namespace lamella
