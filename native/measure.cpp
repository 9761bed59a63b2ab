#include "measure.hpp"

namespace lamella {

#if defined(LAMELLA_X86)
Choice<MeasurePasses> measure_choice{&kMeasureAvx512, &kMeasureAvx2, &kMeasureBaseline};
#else
Choice<MeasurePasses> measure_choice{nullptr, nullptr, &kMeasureBaseline};
#endif

}  // namespace lamella
