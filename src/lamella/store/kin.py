"""The tensors that a new one may be made of, by what they are and by how they begin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Set
from typing import NamedTuple

from lamella.core.ids import ObjectId
from lamella.core.limits import MIB, OBJECT_COST_NBYTES
from lamella.core.tensors import TensorSpec

Shape = tuple[int, ...]

LEAST_ALLOWED_NBYTES = 16 * MIB
"""What may be spent on looking however little is added: some hundred tensors, or a few ten milliseconds."""
OPENED_PER_TENSOR = 2
"""Relatives that may be opened for each tensor that is added."""


class Relative(NamedTuple):
    """A tensor that is stored, and its object."""

    spec: TensorSpec
    id: ObjectId


class Place(NamedTuple):
    """Where in a relative something begins: at which position of the axis in question."""

    relative: Relative
    at: int


Beginnings = dict[bytes, list[Place]]
"""Places by the first items that stand there."""


class Allowance:
    """What looking may still cost, in decoded bytes. Safe for several threads.

    It is as much as is added, something for each tensor, and a little in any case.
    """

    def __init__(self, tensors: int = 0, nbytes: int = 0) -> None:
        self._left = LEAST_ALLOWED_NBYTES + nbytes + tensors * OPENED_PER_TENSOR * OBJECT_COST_NBYTES
        self._lock = threading.Lock()

    def spend(self, nbytes: int) -> bool:
        """Take so much away and return True; where less is left, nothing ever is again."""
        with self._lock:
            self._left = self._left - nbytes if nbytes <= self._left else 0
            return self._left > 0


class Family:
    """Stored tensors: `earlier` are those of the versions before, `beside` those of other models, the likeliest first.

    `tensors` and `nbytes` say how much is to be made of them: that bounds what looking for it may cost, in two
    allowances, `near` for what has the same name or was seen to begin alike, `far` for everything else, which so never
    keeps the likely from being found. Safe for several threads. Lists of beginnings are made when they are first asked
    for, and kept.
    """

    def __init__(
        self, earlier: Iterable[Relative], beside: Iterable[Relative] = (), *, tensors: int = 0, nbytes: int = 0
    ) -> None:
        self.near, self.far = Allowance(tensors, nbytes), Allowance(tensors, nbytes)
        self._settled: set[TensorSpec] = set()
        self._named: dict[str, list[Relative]] = {}
        self._shaped: dict[Shape, list[Relative]] = {}
        self._along: dict[Hashable, list[Relative]] = {}
        self._extents: dict[Hashable, set[int]] = {}
        self._beginnings: dict[Hashable, Beginnings] = {}
        self._lock = threading.Lock()
        for relative in dict.fromkeys(earlier):
            self._settled.add(relative.spec)
            self._enter(relative)
        for relative in dict.fromkeys(beside):
            self._enter(relative)

    def _enter(self, relative: Relative) -> None:
        name, shape = relative.spec.name, relative.spec.shape
        self._named.setdefault(name, []).append(relative)
        self._shaped.setdefault(shape, []).append(relative)
        for axis in range(len(shape)):
            key = key_along(shape, axis)
            self._along.setdefault(key, []).append(relative)
            self._extents.setdefault(key, set()).add(shape[axis])

    def settles(self, spec: TensorSpec) -> bool:
        """Say whether an earlier version has the tensor: then it was trained, or cast anew, and not rearranged."""
        return spec in self._settled

    def named(self, name: str) -> list[Relative]:
        """Return the tensors of that name."""
        return self._named.get(name, [])

    def shaped(self, shape: Shape) -> list[Relative]:
        """Return the tensors of that shape."""
        return self._shaped.get(shape, [])

    def along(self, shape: Shape, axis: int) -> list[Relative]:
        """Return the tensors that are as long as `shape` along all axes but one."""
        return self._along.get(key_along(shape, axis), [])

    def extents(self, shape: Shape, axis: int) -> Set[int]:
        """Return how long along an axis the tensors are that `along` returns."""
        return self._extents.get(key_along(shape, axis), frozenset())

    def beginnings(self, key: Hashable, places: Callable[[], Iterator[tuple[bytes, Place]]]) -> Beginnings:
        """Return the places that `places` yields by how they begin; it is asked only once for each `key`."""
        with self._lock:
            if key not in self._beginnings:
                found: Beginnings = {}
                for start, place in places():
                    found.setdefault(start, []).append(place)
                self._beginnings[key] = found
            return self._beginnings[key]


def key_along(shape: Shape, axis: int) -> Hashable:
    """Return what tensors have in common that differ in length along one axis alone."""
    return axis, shape[:axis], shape[axis + 1 :]
