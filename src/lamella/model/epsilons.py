"""From which mean |b - a| on a tensor is a change point: by dtype, and by name where somebody says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec

_WIDE_FLOATS = 2.0**-22
_NARROW_FLOATS = 1e-6

DEFAULT_EPSILONS: dict[str, float] = {
    **dict.fromkeys(("f64", "f32", "c64", "c128"), _WIDE_FLOATS),
    **dict.fromkeys(("f16", "bf16", "f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz"), _NARROW_FLOATS),
}
"""Epsilon of each dtype; 0, any change, for those that are not listed, integers above all.

What computes or converts anew in f32 is off by a unit of the last place or two: D of 1e-9 in usual weights of some
hundredths, and never more than 2**-22, two units of 1, where weights are below 1. A single step of training with a rate
of 1e-5 gives D = 1e-5 or more. A float of 16 bits or fewer keeps most elements of such a step, and moves a few by a
unit, which is large: on checkpoints of a sentence encoder D of one step at a rate of 2e-5 is 1e-6 to 5e-5 in bf16 and
6e-6 to 2e-5 in f16. So 1e-6 finds it, and lets a hundredth of the elements be off by a unit.

Rounding f32 to bf16 gives D = 2e-5 to 1e-3, as much as training does, so no epsilon tells the two apart. That the
rounded values are exactly those of the other side does, and then a tensor is no change point
(`TensorDifference.rounding_only`).
"""


@dataclass(frozen=True, slots=True)
class EpsilonRules:
    """Epsilon by name: the first of `rules`, a glob and an epsilon each, whose glob has the name, else by dtype.

    In a glob `*` also stands for dots and slashes. Raises UsageError (bad-argument) for an epsilon below 0.
    """

    rules: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for glob, epsilon in self.rules:
            if not epsilon >= 0:
                hint = "name the least mean of |b - a| that is a change"
                raise UsageError(f"{epsilon} is no epsilon for {glob!r}", kind="bad-argument", hint=hint)

    def epsilon(self, before: TensorSpec, after: TensorSpec) -> float:
        """Return epsilon for what became of a tensor, by its name after; of two dtypes the larger one counts."""
        for glob, epsilon in self.rules:
            if fnmatchcase(after.name, glob):
                return epsilon
        return max(DEFAULT_EPSILONS.get(spec.dtype.name, 0.0) for spec in (before, after))


BY_DTYPE = EpsilonRules()
"""No rules: epsilon is that of the dtype."""
