"""How far the parameters of one model are from those of another, as one number."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from lamella.model.difference import TensorDifference, weights_of


def parameter_distance(differences: Sequence[TensorDifference]) -> float | None:
    """Return the sum over n elements of min(1, r) / n, r being the relative change of their tensor, from 0 to 1.

    r is the norm of b - a over the norm of a, 0 where the bytes are the same, and 1 where a is all zeros or a norm is
    not known. Elements that one side alone has count 1, and so do those that are finite on one side alone. The state of
    an optimizer counts only where there is nothing else. Tensors that could not be measured are left out; None where no
    other is there.
    """
    moved, total = 0.0, 0
    for difference in weights_of(differences):
        if not difference.same and difference.measures is None:
            continue
        common = prod(difference.after.shape if difference.overlap is None else difference.overlap)
        alone = prod(difference.before.shape) + prod(difference.after.shape) - 2 * common
        relative, special = 0.0, 0
        if difference.measures is not None:
            found, special = difference.measures.relative, difference.measures.special
            relative = 1.0 if found is None else min(1.0, found)
        moved += alone + special + (common - special) * relative
        total += alone + common
    return moved / total if total else None
