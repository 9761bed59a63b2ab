#include "merge.hpp"

namespace lamella {

#if defined(LAMELLA_X86)
Choice<MergePasses> merge_choice{&kMergeAvx512, &kMergeAvx2, &kMergeBaseline};
#else
Choice<MergePasses> merge_choice{nullptr, nullptr, &kMergeBaseline};
#endif

}  // namespace lamella
