#include "instructions.hpp"

#include "choice.hpp"

namespace lamella {
namespace {

#if defined(LAMELLA_X86)
Choice<Passes> choice{&kPassesAvx512, &kPassesAvx2, &kPassesBaseline};
#else
Choice<Passes> choice{nullptr, nullptr, &kPassesBaseline};
#endif

}  // namespace

const Passes& passes() noexcept { return choice.passes(); }

std::vector<std::string_view> instruction_sets() { return choice.names(); }

bool use_instruction_set(std::string_view name) { return choice.use(name); }

}  // namespace lamella
