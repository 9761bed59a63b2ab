"""What every tensor of the base became on each side of a merge: told by names where that is sure, else by weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Place

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

Lineage = dict[str, str]
"""From the names of the base to those of a side; what is not in it is gone there."""


def trace(models: Models) -> list[Lineage]:
    """Return for each side what the tensors of the base became.

    A side that lists what the base lists is taken by its names where no other side touched what it changed: whatever
    became of a tensor there, its bytes are taken under the name that they have. Else weights are asked: two blocks may
    have changed places under the same names.
    """
    listed = models.specs(BASE)
    found: dict[int, Lineage] = {}
    touched: dict[int, set[str]] = {}
    sources: dict[int, AskedOnce] = {}
    for number in range(len(models.sides)):
        if _lists_the_same(listed, models.specs(number)):
            found[number] = {spec.name: spec.name for spec in listed}
        else:
            found[number] = _aligned(models, number, sources)
        touched[number] = _touched(models, number, found[number])
    for number in range(len(models.sides)):
        others = set().union(*(names for other, names in touched.items() if other != number))
        if _lists_the_same(listed, models.specs(number)) and not others.isdisjoint(touched[number]):
            found[number] = _aligned(models, number, sources)
    return [found[number] for number in range(len(models.sides))]


def _lists_the_same(listed: Sequence[TensorSpec], others: Sequence[TensorSpec]) -> bool:
    return len(listed) == len(others) and set(listed) == set(others)


def _touched(models: Models, number: int, lineage: Lineage) -> set[str]:
    """Return the tensors of the base that a side changed, renamed or dropped."""
    return {
        spec.name
        for spec in models.specs(BASE)
        if lineage.get(spec.name) != spec.name
        or models.content(Place(number, spec.name)) != models.content(Place(BASE, spec.name))
    }


def _aligned(models: Models, number: int, sources: dict[int, AskedOnce]) -> Lineage:
    from lamella.model.align import align

    before = sources.setdefault(BASE, AskedOnce(models, BASE))
    after = sources.setdefault(number, AskedOnce(models, number))
    alignment = align(before, after)
    lineage = {pair.before: pair.after for pair in alignment.pairs}
    # What has kept its name is another thing only where something else became of one of the two.
    lineage |= {name: name for name in set(alignment.removed).intersection(alignment.added)}
    return lineage


class AskedOnce:
    """A model of a merge as an AlignmentSource whose sketches are made once."""

    def __init__(self, models: Models, number: int) -> None:
        self._models, self._number = models, number
        self._sketches: dict[str, Array] = {}

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in file order."""
        return self._models.specs(self._number)

    def contents(self) -> Sequence[bytes]:
        """Return the digests of their bytes."""
        return [self._models.digest(Place(self._number, spec.name)) for spec in self.specs()]

    def sketches(self, names: Sequence[str]) -> Array:
        """Return the sketches of tensors, float32[n, 256]."""
        import numpy

        missing = [name for name in names if name not in self._sketches]
        if missing:
            made = self._models.numbered(self._number).sketches(missing)
            self._sketches.update(zip(missing, made, strict=True))
        return numpy.stack([self._sketches[name] for name in names])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor."""
        return self._models.numbered(self._number).read(name, start, stop)
