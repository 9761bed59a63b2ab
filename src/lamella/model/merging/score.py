"""How much the sides of a merge disagree about a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """What a formula saw in a span: counts of elements, and sums to be added up over the spans.

    `moved` counts for each side what it changed, `either` what at least one side did, `both` what at least two did, and
    `clashes` those of them that moved to opposite sides of the base. `gram` has the dot products of the changes of all
    sides, row by row. `not_finite` counts what is NaN or infinite in the result and was not alike on all sides. A
    formula that does not look at changes leaves all but the last empty.
    """

    not_finite: int = 0
    moved: tuple[int, ...] = ()
    either: int = 0
    both: int = 0
    clashes: int = 0
    gram: tuple[float, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        """Return the tally of two runs, the first before the second."""
        return Tally(
            self.not_finite + other.not_finite,
            _added(self.moved, other.moved),
            self.either + other.either,
            self.both + other.both,
            self.clashes + other.clashes,
            _added(self.gram, other.gram),
        )


def _added(one: tuple[float, ...], other: tuple[float, ...]) -> tuple:  # type: ignore[type-arg]
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class Score:
    """How far the changes of two sides, or of all, are at odds.

    `overlap` is the share of elements moved by several of those moved by any; `clash` the share of that in which they
    moved in opposite directions; `cosine` that of the angle between the changes, the least of all pairs of sides;
    `ratio` the norm of the smallest change over that of the largest. Without changes all are 0, and `cosine` 1.
    """

    overlap: float
    clash: float
    cosine: float
    ratio: float
    moved: tuple[int, ...] = field(default=())

    def is_opposed(self, opposition: float) -> bool:
        """Say whether the sides went opposite ways: as a whole, and in more than a few elements.

        The cosine is below the negative of `opposition`, from 0 to 1, and so is, of half of it, that of the signs where
        several sides moved. A change that one large element makes up has a cosine that says little by itself.
        """
        return self.cosine < -opposition and 1 - 2 * self.clash < -opposition / 2


def score(tally: Tally) -> Score | None:
    """Return what a whole tensor's tally says, None where its formula did not look, or no double holds the sums."""
    sides = len(tally.moved)
    if not sides or not all(map(math.isfinite, tally.gram)):
        return None
    squares = [tally.gram[side * sides + side] for side in range(sides)]
    norms = [math.sqrt(square) for square in squares]
    cosines = [
        tally.gram[one * sides + other] / (norms[one] * norms[other])
        for one in range(sides)
        for other in range(one)
        if norms[one] and norms[other]
    ]
    return Score(
        tally.both / tally.either if tally.either else 0.0,
        tally.clashes / tally.both if tally.both else 0.0,
        min(cosines, default=1.0),
        min(norms) / max(norms) if max(norms) else 0.0,
        tally.moved,
    )
