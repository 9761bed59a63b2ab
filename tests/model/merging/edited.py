"""Models in memory that are merged, and what comes of it, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy

from lamella.core.buffers import Buffer
from lamella.model.merging.engine import MergedTensors
from lamella.model.merging.models import Models
from lamella.model.merging.plan import MergePlan
from lamella.model.merging.planning import plan_merge
from lamella.model.merging.rules import Rules
from lamella.repo.arrays import to_array
from lamella.testing.weights import Weights

Arrays = Mapping[str, Any]


class Side(Weights):
    """Arrays as a model to be merged, which come in pieces of odd lengths."""

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        for name in names:
            data = self.read(name)
            yield (data[at : at + 1001] for at in range(0, len(data), 1001))


def models(base: Arrays | None, *sides: Arrays) -> Models:
    """Return arrays as the models of a merge."""
    return Models(None if base is None else Side(base), [Side(one) for one in sides])


def planned(base: Arrays | None, *sides: Arrays, rules: Rules = Rules(), vocabularies: Any = None) -> MergePlan:  # noqa: B008
    """Return the plan to merge arrays."""
    return plan_merge(models(base, *sides), rules, lambda: vocabularies or {})


def merged(base: Arrays | None, *sides: Arrays, rules: Rules = Rules(), vocabularies: Any = None) -> dict[str, Any]:  # noqa: B008
    """Return the tensors that come of merging arrays, in their order; there are no conflicts."""
    found = models(base, *sides)
    plan = plan_merge(found, rules, lambda: vocabularies or {})
    assert not [(one.name, one.conflict) for one in plan.conflicts]
    tensors = MergedTensors(plan, found)
    specs = tensors.specs()
    data = [b"".join(map(bytes, pieces)) for pieces in tensors.stream([spec.name for spec in specs])]
    assert [len(one) for one in data] == [spec.nbytes for spec in specs]
    return {spec.name: to_array(spec, bytearray(one)) for spec, one in zip(specs, data, strict=True)}


def same(one: Arrays, other: Arrays) -> bool:
    """Say whether two models have the same tensors in the same order, bit for bit."""
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes() for name in one
    )


def changed(arrays: Arrays, *names: str) -> dict[str, Any]:
    """Return arrays of which some were trained on, a little."""
    return {
        name: (array * numpy.float32(1.01)).astype(array.dtype) if name in names else array
        for name, array in arrays.items()
    }
