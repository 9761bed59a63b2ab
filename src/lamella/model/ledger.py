"""What is known so far of an alignment: which tensors are paired, and what that says of layers and blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from lamella.model.alignment import BLOCK, CONTENT, NAME, ORDER, WEIGHTS
from lamella.model.layers import role
from lamella.model.side import Side

One = TypeVar("One", bound=Hashable)

ALIKE = 0.35
"""A cosine of sketches from here on is no accident: that of strangers is 0 with a standard deviation of 1/16."""
SOMEWHAT = 0.15
"""Enough where something else speaks for a pair, too."""
UNLIKE_CONFIDENCE = 0.25
"""Of a pair for which nothing speaks but its name, or its place in a block: trained anew, perhaps."""
SILENT_CONFIDENCE = 0.6
"""Of a pair of which one side says nothing: all its values are the same, or there are few of them."""
BESIDE_CONFIDENCE = 0.8
"""Of such a pair in two layers, or two blocks, of which one is known to have become the other."""
LIKELY = 0.5
"""A pair with so much confidence says something of what is beside it."""
EQUAL_CONFIDENCE = 0.9
"""Of a pair with one content that others have, too."""


class Found(NamedTuple):
    """What a tensor became."""

    after: int
    reason: str
    confidence: float


class Ledger:
    """The pairs of tensors of two sides. A pair is entered once and stays."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.found: dict[int, Found] = {}
        self.taken: set[int] = set()
        self._beside: set[tuple[Hashable, Hashable]] = set()

    def pair(self, before: int, after: int, reason: str, confidence: float) -> None:
        """Enter a pair of two tensors that are in none yet."""
        assert before not in self.found and after not in self.taken
        self.found[before] = Found(after, reason, min(1.0, max(0.0, confidence)))
        self.taken.add(after)
        if confidence >= LIKELY and reason != ORDER:
            old, new = self.before.layer_of[before], self.after.layer_of[after]
            self._beside.update([(old, new), *self.enclosing(old, new)])

    def is_settled(self) -> bool:
        """Say whether a side has no tensor left that is in no pair."""
        return len(self.found) in (len(self.before.specs), len(self.after.specs))

    def open_before(self, tensors: Iterable[int]) -> list[int]:
        """Return those of some tensors before that are in no pair."""
        return [tensor for tensor in tensors if tensor not in self.found]

    def open_after(self, tensors: Iterable[int]) -> list[int]:
        """Return those of some tensors after that are in no pair."""
        return [tensor for tensor in tensors if tensor not in self.taken]

    def open_layers(self, side: Side) -> list[int]:
        """Return the layers of a side none of whose tensors is in a pair."""
        paired: Iterable[int] = self.found if side is self.before else self.taken
        settled = {side.layer_of[tensor] for tensor in paired}
        return [layer for layer in range(len(side.layers)) if layer not in settled]

    def similarity(self, before: int, after: int) -> float | None:
        """Return the cosine of two loaded tensors, None where they are of two kinds, or one says nothing."""
        if self.before.kinds[before] != self.after.kinds[after] or not (
            self.before.weights[before] and self.after.weights[after]
        ):
            return None
        return float(self.before.unit(before) @ self.after.unit(after))

    def judge(self, before: int, after: int, reason: str) -> None:
        """Pair two tensors of one kind for which `reason` speaks, with what their weights add to that."""
        similarity = self.similarity(before, after)
        if reason == NAME and self.before.names[before] != self.after.names[after]:
            reason = BLOCK
        if self.before.contents[before] == self.after.contents[after]:
            unique = self.before.copies[self.before.contents[before]] == 1
            confidence, reason = (1.0, CONTENT) if unique and similarity is not None else (EQUAL_CONFIDENCE, reason)
        elif similarity is None:
            confidence = BESIDE_CONFIDENCE if self._is_beside(before, after) else SILENT_CONFIDENCE
        elif similarity < SOMEWHAT:
            confidence = UNLIKE_CONFIDENCE
        else:
            confidence = similarity if reason == WEIGHTS else (1 + similarity) / 2
        self.pair(before, after, reason, confidence)

    def _is_beside(self, before: int, after: int) -> bool:
        """Say whether a pair with some confidence is in the two layers, or the innermost blocks around them."""
        old, new = self.before.layer_of[before], self.after.layer_of[after]
        around = list(self.enclosing(old, new))[-1:]
        return (old, new) in self._beside or any(pair in self._beside for pair in around)

    def join(self, before: int, after: int, reason: str) -> None:
        """Pair the tensors of two layers that have one role and one kind, then those of one kind in their order."""
        olds = self.open_before(self.before.layers[before].tensors)
        news = self.open_after(self.after.layers[after].tensors)
        for key in (self._key_with_role, self._key_of_kind):
            waiting: dict[Hashable, list[int]] = {}
            for tensor in news:
                waiting.setdefault(key(self.after, tensor), []).append(tensor)
            partners = [(tensor, waiting.get(key(self.before, tensor), [])) for tensor in olds]
            pairs = [(tensor, found.pop(0)) for tensor, found in partners if found]
            # What says most first: the others are beside it then.
            for old, new in sorted(pairs, key=lambda pair: -self.before.weights[pair[0]]):
                self.judge(old, new, reason)
            olds, news = self.open_before(olds), self.open_after(news)

    @staticmethod
    def _key_with_role(side: Side, tensor: int) -> Hashable:
        return side.kinds[tensor], role(side.specs[tensor])

    @staticmethod
    def _key_of_kind(side: Side, tensor: int) -> Hashable:
        return side.kinds[tensor]

    def layer_pairs(self) -> dict[int, int]:
        """Return which layer became which: where most values of each are in tensors of the other."""
        votes = (
            ((self.before.layer_of[tensor], self.after.layer_of[found.after]), 1 + self.before.values[tensor])
            for tensor, found in self.found.items()
        )
        return agreed(votes)

    def block_pairs(self) -> dict[str, str]:
        """Return which block became which: where most tensors of each are in the other, those trained anew left out."""
        return agreed(
            (pair, 1)
            for tensor, found in self.found.items()
            if found.confidence > UNLIKE_CONFIDENCE
            for pair in self.enclosing(self.before.layer_of[tensor], self.after.layer_of[found.after])
        )

    def enclosing(self, before: int, after: int) -> Iterator[tuple[str, str]]:
        """Yield the blocks around two layers, the outermost first, as far as each has one more of the same nature.

        A layer that merely has a number is no block of several layers.
        """
        for old, new in zip(self.before.layers[before].blocks, self.after.layers[after].blocks, strict=False):
            if (old in self.before.blocks) == (new in self.after.blocks):
                yield old, new


def agreed(votes: Iterable[tuple[tuple[One, One], int]]) -> dict[One, One]:
    """Return the pairs of which each one has most votes of both its members; of equals the first that was voted for."""
    counts: Counter[tuple[One, One]] = Counter()
    for pair, weight in votes:
        counts[pair] += weight
    first: dict[One, One] = {}
    second: dict[One, One] = {}
    for one, other in sorted(counts, key=lambda pair: -counts[pair]):
        if one not in first and other not in second:
            first[one], second[other] = other, one
    return first


def by_key(numbers: Sequence[int], key: Callable[[int], Hashable]) -> dict[Hashable, list[int]]:
    """Return numbers in groups, in their order."""
    groups: dict[Hashable, list[int]] = {}
    for number in numbers:
        groups.setdefault(key(number), []).append(number)
    return groups
