"""The tensors that a new one may be made of: what they are called and shaped, and quick ways to the likely ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

from lamella.codec.casts import cast_code
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec

MOST_ALIKE = 8
"""Tensors of other names that are looked at to find one: layers are alike in shape, their numbers tell them apart."""
MOST_PARTS = 256
"""Tensors that are looked at to find those that one consists of."""

_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
Key = tuple[int, tuple[int, ...], tuple[int, ...]]


class Relative(NamedTuple):
    """A tensor that is stored, and its object."""

    spec: TensorSpec
    id: ObjectId


class Family:
    """Stored tensors, looked up by how another one may be made of them. Does not change, so threads may share it.

    `earlier` are those of the versions before, `beside` those of other models. Of those that are found, the ones whose
    names have the most words in common come first.
    """

    def __init__(self, earlier: Iterable[Relative], beside: Iterable[Relative] = ()) -> None:
        self._words: dict[Relative, frozenset[str]] = {}
        self._by_shape: dict[tuple[int, ...], list[Relative]] = {}
        self._by_rest: dict[Key, list[Relative]] = {}
        earlier = list(earlier)
        self._settled = {relative.spec for relative in earlier}
        for relative in dict.fromkeys((*earlier, *beside)):
            self._words[relative] = _words(relative.spec.name)
            shape = relative.spec.shape
            self._by_shape.setdefault(shape, []).append(relative)
            for axis in range(len(shape)):
                self._by_rest.setdefault(_key(shape, axis), []).append(relative)

    def settles(self, spec: TensorSpec) -> bool:
        """Say whether an earlier version has the tensor: then it was trained, or cast anew, and not rearranged."""
        return spec in self._settled

    def cast_to(self, spec: TensorSpec) -> list[Relative]:
        """Return tensors of the same shape and another dtype that can be cast, and of the same name if there is one."""
        found = (one for one in self._by_shape.get(spec.shape, ()) if one.spec.dtype != spec.dtype)
        alike = self._ranked(found, spec, MOST_ALIKE)
        return [one for one in alike if one.spec.name == spec.name] or ([] if self.settles(spec) else alike)

    def transposed(self, spec: TensorSpec) -> list[Relative]:
        """Return matrices with rows and columns exchanged."""
        if len(spec.shape) != 2 or min(spec.shape) < 2:
            return []
        return self._ranked(self._by_shape.get(spec.shape[::-1], ()), spec, MOST_ALIKE)

    def wider(self, spec: TensorSpec, shape: tuple[int, ...], axis: int) -> list[Relative]:
        """Return tensors that are as `shape`, which is that of `spec`, but longer along an axis."""
        found = self._by_rest.get(_key(shape, axis), ())
        return self._ranked((one for one in found if one.spec.shape[axis] > shape[axis]), spec, MOST_ALIKE)

    def narrower(self, spec: TensorSpec, axis: int) -> list[Relative]:
        """Return tensors that are as `spec` but shorter along an axis; of a first axis also those that lack it."""
        shape = spec.shape
        found = [one for one in self._by_rest.get(_key(shape, axis), ()) if one.spec.shape[axis] < shape[axis]]
        if axis == 0:
            found += self._by_shape.get(shape[1:], ())
        return self._ranked(found, spec, MOST_PARTS)

    def _ranked(self, relatives: Iterable[Relative], spec: TensorSpec, count: int) -> list[Relative]:
        words = _words(spec.name)
        usable = (one for one in relatives if cast_code(one.spec.dtype.name, spec.dtype.name) is not None)

        def alike(one: Relative) -> tuple[bool, int, bool]:
            return one.spec.name == spec.name, len(words & self._words[one]), one.spec.dtype == spec.dtype

        return nlargest(count, usable, key=alike)


def _key(shape: tuple[int, ...], axis: int) -> Key:
    return axis, shape[:axis], shape[axis + 1 :]


def _words(name: str) -> frozenset[str]:
    return frozenset(_SEPARATORS.split(name))


def shapes_of(spec: TensorSpec) -> Iterator[tuple[int, ...]]:
    """Yield the shape of a tensor, and the shape that it has as one entry of a stack."""
    yield spec.shape
    yield (1, *spec.shape)
