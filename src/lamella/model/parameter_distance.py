"""How far the parameters of one model are from those of another, as one number."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from lamella.model.difference import TensorDifference


def parameter_distance(differences: Iterable[TensorDifference]) -> float | None:
    """Return sum n * min(1, r) / sum n, with n the elements of a tensor and r its relative change, from 0 to 1.

    r is the norm of b - a over the norm of a, 0 where the bytes are the same, and 1 where a is all zeros or a norm is
    not known. Tensors that could not be measured are left out; None where no other is there.
    """
    moved, total = 0.0, 0
    for difference in differences:
        if not difference.same and difference.measures is None:
            continue
        count = prod(difference.after.shape)
        relative = difference.measures.relative if difference.measures is not None else 0.0
        moved += count * min(1.0, 1.0 if relative is None else relative)
        total += count
    return moved / total if total else None
