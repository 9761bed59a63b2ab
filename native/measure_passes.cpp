// Built once for each instruction set, with LAMELLA_PASSES and LAMELLA_INSTRUCTIONS the names of the result. What is
// included is internal to this file, or the linker could take one build's function for another's.
#include "measure_tiles.hpp"
#include "survey_tiles.hpp"

namespace lamella {

const MeasurePasses LAMELLA_PASSES{LAMELLA_INSTRUCTIONS, &measure_tiles, &survey_tiles, &decode_tiles, &count_tiles};

}  // namespace lamella
