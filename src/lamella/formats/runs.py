"""Runs of a file that somebody looked at, to be held against where the tensors lie."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from lamella.formats.base import TensorSpan


class Runs:
    """Runs of bytes, in the order in which they are noted; such as follow each other are kept as one."""

    def __init__(self) -> None:
        self._starts, self._stops = array("Q"), array("Q")

    def note(self, start: int, stop: int) -> None:
        """Take up the bytes from `start` to `stop`."""
        if self._stops and self._stops[-1] == start:
            self._stops[-1] = stop
        elif start < stop:
            self._starts.append(start)
            self._stops.append(stop)

    def are_apart(self, spans: Iterable[TensorSpan]) -> bool:
        """Say whether no byte of a tensor is among them, where `spans` are in file order and disjoint.

        Parts are no tensors.
        """
        tensors = [
            (span.offset, span.offset + span.spec.nbytes) for span in spans if not span.part and span.spec.nbytes
        ]
        ends = [end for _, end in tensors]
        for start, stop in zip(self._starts, self._stops, strict=True):
            number = bisect_right(ends, start)
            if number < len(tensors) and tensors[number][0] < stop:
                return False
        return True
