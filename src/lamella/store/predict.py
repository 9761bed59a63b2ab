"""How large objects will be, alone and against each other, and what it will cost to restore them: told from samples."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from lamella.core.ids import ObjectId
from lamella.core.limits import MIB
from lamella.store.bases import COMPARED_CHUNKS, MIN_SAVING, Fitter, Pair, Sampler
from lamella.store.chain import Chain
from lamella.store.record import Head, chunk_count, head_nbytes_for

KEPT_NBYTES = 64 * MIB
"""Samples that are kept for the next comparison: those of a few hundred versions."""

WORK_PER_BYTE = {1: 0.75, 2: 0.5, 4: 0.25, 8: 0.125}
"""What a delta adds to the cost of each restored byte, by the width of an item, beside the bytes of its payload.

To decode a delta takes a time for each item and for each byte of payload; to read, decode and write a byte of an object
that is alone takes about as long as a delta of two items of one byte. Measured on fine-tunes at both widths of float.
"""

MOST_RESTORE = 2.0
"""What a version may cost to restore, as a multiple of what it costs alone."""
MARGIN = 0.05
"""How far below that a plan stays, since it knows samples only."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """The bytes of a record, and what it adds to the cost of restoring whatever leans on it."""

    nbytes: int
    cost: int


def link_cost(nbytes: int, item_nbytes: int, payload_nbytes: int) -> int:
    """Return what a delta adds to the cost of restoring an object; a byte of an object that is alone costs 1."""
    return round(nbytes * WORK_PER_BYTE[item_nbytes]) + payload_nbytes


def slack(nbytes: int) -> int:
    """Return what all deltas on the way to an object of that length may cost."""
    return int((MOST_RESTORE - 1 - MARGIN) * nbytes)


class _Sample(NamedTuple):
    head: Head
    parts: list[Pair]


class Predictor:
    """Predicts the sizes of the objects that `open_chain` opens.

    Safe for several threads, as far as `open_chain` is; memory is bounded by `KEPT_NBYTES`. Raises IntegrityError where
    what is sampled is damaged.
    """

    def __init__(self, open_chain: Callable[[ObjectId], Chain]) -> None:
        self._open_chain = open_chain
        self._mutex = threading.Lock()
        self._kept: OrderedDict[ObjectId, _Sample] = OrderedDict()
        self._kept_nbytes = 0

    def alone(self, identity: ObjectId, layout: int | None) -> Predicted:
        """Return what an object takes where it stands alone."""
        sample = self._sample(identity)
        return _scaled(sample.head, layout, sample.parts, alone=True)

    def against(self, identity: ObjectId, base: ObjectId, layout: int | None) -> Predicted:
        """Return what an object takes where it leans on another one with items of the same width."""
        sample, below = self._sample(identity), self._sample(base)
        if sample.head.nbytes == below.head.nbytes:
            pairs: list[Pair] = [(one, two) for (one, _), (two, _) in zip(sample.parts, below.parts, strict=True)]
        else:
            pairs = _sampler(self._open_chain(identity)).pairs(self._open_chain(base), COMPARED_CHUNKS)
        return _scaled(sample.head, layout, pairs, alone=False)

    def _sample(self, identity: ObjectId) -> _Sample:
        with self._mutex:
            sample = self._kept.get(identity)
            if sample is not None:
                self._kept.move_to_end(identity)
                return sample
        chain = self._open_chain(identity)
        parts: list[Pair] = [
            (memoryview(bytes(part)), None) for part, _ in _sampler(chain).pairs(None, COMPARED_CHUNKS)
        ]
        sample = _Sample(replace(chain.head, rows=()), parts)
        with self._mutex:
            if identity not in self._kept:
                self._kept[identity] = sample
                self._kept_nbytes += _nbytes(sample.parts)
            while self._kept_nbytes > KEPT_NBYTES:
                self._kept_nbytes -= _nbytes(self._kept.popitem(last=False)[1].parts)
        return sample


def _scaled(head: Head, layout: int | None, pairs: list[Pair], *, alone: bool) -> Predicted:
    codec, sampled = Fitter(head, layout).best(pairs, alone=alone)
    parameters = 0 if codec is None else len(codec.parameters)
    payload = round((sampled - parameters) * head.nbytes / max(1, _nbytes(pairs)))
    own = head_nbytes_for(chunk_count(head.nbytes, head.item_nbytes, head.chunk_shift), parameters, len(head.sketch))
    return Predicted(own + payload, link_cost(head.nbytes, head.item_nbytes, payload))


def is_worthwhile(delta: Predicted, alone: Predicted) -> bool:
    """Say whether a delta saves enough to be worth its base."""
    return delta.nbytes <= (1 - MIN_SAVING) * alone.nbytes


def _nbytes(pairs: list[Pair]) -> int:
    return sum(len(part) for part, _ in pairs)


def _sampler(chain: Chain) -> Sampler:
    return Sampler(chain.head, None, lambda number: bytes(chain.decode(number, number + 1)))
