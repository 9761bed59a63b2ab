"""What every tensor of the base became on each side of a merge: told by names where that is sure, else by weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.alignment import CONTENT, Alignment, Pair
from lamella.model.ledger import ALIKE
from lamella.model.matching import SURELY
from lamella.model.merging.models import Models
from lamella.model.merging.naming import Path, blocks, split
from lamella.model.merging.plan import BASE, Place
from lamella.model.side import LEAST_VALUES, is_vector
from lamella.model.sketch import BUCKETS, FLOATS, count_values, unit_buckets

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

Lineage = dict[str, str]
"""From the names of the base to those of a side; what is not in it is gone there."""


def trace(models: Models) -> list[Lineage]:
    """Return for each side what the tensors of the base became.

    A side that lists what the base lists is taken by its names where no other side touched what it changed: whatever
    became of a tensor there, its bytes are taken under the name that they have. Else weights are asked, since two
    blocks may have changed places under the same names: whether all are surely what they were, and if not, alignment.
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
        if not _lists_the_same(listed, models.specs(number)) or others.isdisjoint(touched[number]):
            continue
        if not _are_surely_alike(models, number, touched[number], sources):
            found[number] = _aligned(models, number, sources)
    return [found[number] for number in range(len(models.sides))]


def _lists_the_same(listed: Sequence[TensorSpec], others: Sequence[TensorSpec]) -> bool:
    return len(listed) == len(others) and set(listed) == set(others)


def _are_surely_alike(models: Models, number: int, names: Collection[str], sources: dict[int, AskedOnce]) -> bool:
    """Say whether all that a side changed is so much like what had its name that alignment would go by names."""
    import numpy

    telling = [spec.name for spec in models.specs(BASE) if spec.name in names and count_values(spec) >= LEAST_VALUES]
    before, after = (
        unit_buckets(sources.setdefault(which, AskedOnce(models, which)).sketches(telling)) for which in (BASE, number)
    )
    says = before.any(axis=1) & after.any(axis=1)
    return bool((numpy.einsum("ij,ij->i", before, after)[says] >= SURELY).all())


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
    lineage |= {name: name for name in _unfounded(alignment, before, after)}
    taken = set(lineage.values())
    # What has kept its name is another thing only where something else became of one of the two.
    free = {spec.name for spec in after.specs() if spec.name not in taken}
    lineage |= {spec.name: spec.name for spec in before.specs() if spec.name not in lineage and spec.name in free}
    return lineage


def _unfounded(alignment: Alignment, before: AskedOnce, after: AskedOnce) -> set[str]:
    """Return tensors that are said to have another name now, but go by their own as well.

    Weights have to speak for a name that was given to something else: those of the tensor, or of others that went the
    same way with the module or the block that it is in.
    """
    shapes = {spec.name: (spec.dtype, spec.shape) for spec in before.specs()}
    there = {spec.name: (spec.dtype, spec.shape) for spec in after.specs()}
    renamed = [pair for pair in alignment.pairs if pair.renamed and there.get(pair.before) == shapes[pair.before]]
    ways: set[tuple[Path, Path]] = set()
    for pair in renamed:
        if pair.reason == CONTENT or _is_better(pair, before, after):
            ways.update(_ways(pair))
    unfounded = {pair.before for pair in renamed if ways.isdisjoint(_ways(pair))}
    became = {pair.before: pair.after for pair in alignment.pairs}
    owner = {new: old for old, new in became.items()}
    waiting = [name for name in unfounded if owner.get(name, name) not in unfounded]
    while waiting:
        name = waiting.pop()
        unfounded.discard(name)
        if became[name] in unfounded:
            waiting.append(became[name])
    return unfounded


def _ways(pair: Pair) -> list[tuple[Path, Path]]:
    """Return what a tensor is, and is in, and what that became."""
    old, new = split(pair.before), split(pair.after)
    blocks_of = zip(reversed(list(blocks(old))), reversed(list(blocks(new))), strict=False)
    ways = [(old, new), (old[:-1], new[:-1]), *((one.path, other.path) for one, other in blocks_of)]
    return [(one, other) for one, other in ways if one and one != other]


def _is_better(pair: Pair, before: AskedOnce, after: AskedOnce) -> bool:
    """Say whether a matrix is surely like what it is said to have become, and more than what has its name now."""
    spec = before.spec(pair.before)
    if is_vector(spec.shape) or spec.shape != after.spec(pair.after).shape:
        return False
    values = count_values(spec)
    cosine, own = (before.cosine(pair.before, after, name) for name in (pair.after, pair.before))
    return values >= LEAST_VALUES and cosine > own and cosine >= max(ALIKE, 5 * sqrt(1 / BUCKETS + 1 / values))


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
        return (
            numpy.stack([self._sketches[name] for name in names]) if names else numpy.zeros((0, FLOATS), numpy.float32)
        )

    def spec(self, name: str) -> TensorSpec:
        """Return the spec of one tensor."""
        return self._models.spec(Place(self._number, name))

    def cosine(self, name: str, other: AskedOnce, its_name: str) -> float:
        """Return how alike two tensors are, as their sketches say."""
        one, two = unit_buckets(self.sketches([name])), unit_buckets(other.sketches([its_name]))
        return float((one * two).sum())

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return the bytes from `start` to `stop` of one tensor."""
        return self._models.numbered(self._number).read(name, start, stop)
