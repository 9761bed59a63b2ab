"""The tensors that a new one may be made of, by what they are and by how they begin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple

from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec

Shape = tuple[int, ...]


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


class Family:
    """Stored tensors: `earlier` are those of the versions before, `beside` those of other models.

    Safe for several threads. Lists of beginnings are made when they are first asked for, and kept.
    """

    def __init__(self, earlier: Iterable[Relative], beside: Iterable[Relative] = ()) -> None:
        self._settled: set[TensorSpec] = set()
        self._named: dict[tuple[str, Shape], list[Relative]] = {}
        self._shaped: dict[Shape, list[Relative]] = {}
        self._along: dict[Hashable, list[Relative]] = {}
        self._beginnings: dict[Hashable, Beginnings] = {}
        self._lock = threading.Lock()
        for relative in dict.fromkeys(earlier):
            self._settled.add(relative.spec)
            self._enter(relative)
        for relative in dict.fromkeys(beside):
            self._enter(relative)

    def _enter(self, relative: Relative) -> None:
        name, shape = relative.spec.name, relative.spec.shape
        self._named.setdefault((name, shape), []).append(relative)
        self._shaped.setdefault(shape, []).append(relative)
        for axis in range(len(shape)):
            self._along.setdefault(key_along(shape, axis), []).append(relative)

    def settles(self, spec: TensorSpec) -> bool:
        """Say whether an earlier version has the tensor: then it was trained, or cast anew, and not rearranged."""
        return spec in self._settled

    def named(self, spec: TensorSpec) -> list[Relative]:
        """Return the tensors of that name and shape."""
        return self._named.get((spec.name, spec.shape), [])

    def shaped(self, shape: Shape) -> list[Relative]:
        """Return the tensors of that shape."""
        return self._shaped.get(shape, [])

    def along(self, shape: Shape, axis: int) -> list[Relative]:
        """Return the tensors that are as long as `shape` along all axes but one."""
        return self._along.get(key_along(shape, axis), [])

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
