"""What may be wrong with a merged model and with no side of it: shrunken norms, broken ties, averaged statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model import kernels
from lamella.model.health import NOTE, WARNING, Finding, finding
from lamella.model.measures import Measures
from lamella.model.survey import Survey
from lamella.model.tensor_names import family, is_optimizer_state, is_running_statistic, starts_at_zero

_LEAST_TIED = 64
"""Elements of a matrix from which on it is no chance that another is the same."""

Content = tuple[bytes, str, tuple[int, ...]]
"""What is equal for tensors of the same bytes, dtype and shape."""


@dataclass(frozen=True, slots=True)
class Squares:
    """Sums of squares of one tensor: of the merged one and of every side, and of how far each is from the base.

    `moved` and `sides_moved` are None and empty where there is no base. A side that is as the base is has moved by 0.
    """

    merged: float
    sides: tuple[float, ...]
    moved: float | None = None
    sides_moved: tuple[float, ...] = ()

    def __add__(self, other: Squares) -> Squares:
        """Return the sums of two runs of elements."""
        return Squares(
            self.merged + other.merged,
            tuple(map(sum, zip(self.sides, other.sides, strict=True))),
            None if self.moved is None or other.moved is None else self.moved + other.moved,
            tuple(map(sum, zip(self.sides_moved, other.sides_moved, strict=True))),
        )


def measure_squares(
    count: int, dtypes: Sequence[str], merged: Buffer, base: Buffer | None, sides: Sequence[Buffer]
) -> Squares:
    """Return the sums over `count` elements; `dtypes` are those of the merged tensor, the base if any, and the sides.

    What is NaN or infinite on either side of a difference counts in none. It may run in any thread.
    """
    if base is None:
        found = [
            Survey(*kernels.survey(data, dtype, count)).squares
            for data, dtype in zip((merged, *sides), dtypes, strict=True)
        ]
        return Squares(found[0], tuple(found[1:]))
    before, rest = dtypes[1], (dtypes[0], *dtypes[2:])
    moved = [
        Measures(*kernels.measure(base, before, data, dtype, count, 0.0, None, 0, 0))
        for data, dtype in zip((merged, *sides), rest, strict=True)
    ]
    return Squares(
        moved[0].squares_after, tuple(one.squares_after for one in moved[1:]),
        moved[0].squares_difference, tuple(one.squares_difference for one in moved[1:]),
    )  # fmt: skip


def norm_shrink(found: Mapping[str, Squares]) -> Iterator[Finding]:
    """Find tensors whose norm, or whose change since the base, is far shorter than the mean of those of the sides.

    The mean of n vectors of one length that have nothing to do with each other has 1/sqrt(n) of it, and of vectors that
    point apart it has less: that is what interpolation does to changes of other signs (Yadav et al., "TIES-Merging",
    2023) and to activations (Jordan et al., "REPAIR", 2023). A change is too short below 1/sqrt(2n), where half the
    square of even unrelated changes is lost: for two sides, half the length, as for opposite changes with a cosine of
    -.5. Without a base, weights as a whole are looked at: they are alike on all sides that come from one, so the bound
    is half way between 1 and 1/sqrt(n). Sides that left a tensor alone do not count.
    """
    for name, squares in found.items():
        moved = [square for square in squares.sides_moved if square > 0]
        if squares.moved is not None and len(moved) > 1:
            yield from _too_short(
                name, squares.moved, moved, 1 / sqrt(2 * len(moved)), "the change since the base",
                "see whether the sides want opposite things here; the strategy ties keeps what most agree on",
            )  # fmt: skip
        if squares.moved is None and len(squares.sides) > 1:
            yield from _too_short(
                name, squares.merged, squares.sides, (1 + 1 / sqrt(len(squares.sides))) / 2, "the tensor",
                "see whether the sides come from one model: weights of other origin do not average",
            )  # fmt: skip


def _too_short(
    name: str, merged: float, sides: Sequence[float], bound: float, what: str, advice: str
) -> Iterator[Finding]:
    length, mean = sqrt(merged), sum(map(sqrt, sides)) / len(sides)
    if length < bound * mean:
        ratio = length / mean
        said = f"{what} has {ratio:.2f} of the mean norm of the {len(sides)} sides, which is less than {bound:.2f}"
        yield finding("norm-shrink", WARNING, name, said, advice, ratio=ratio, bound=bound, sides=len(sides))


def broken_ties(merged: Mapping[str, Content], others: Sequence[Mapping[str, Content]]) -> Iterator[Finding]:
    """Find matrices that base or sides have under several names, as an embedding that is the output, and that differ.

    Where all that have both had them tied, it is the merge that broke it; else a side may have meant it.
    """
    seen: set[tuple[str, str]] = set()
    for tied in (names for model in others for names in _ties(model)):
        kept = [name for name in tied if name in merged]
        for name in kept[1:]:
            pair = kept[0], name
            if pair in seen or merged[pair[0]] == merged[name] or family(pair[0]) == family(name):
                continue
            seen.add(pair)
            having = [one for one in others if pair[0] in one and name in one]
            everywhere = all(one[pair[0]] == one[name] for one in having)
            where = "everywhere" if everywhere else "in the base, or on a side"
            yield finding(
                "untied", WARNING if everywhere else NOTE, name,
                f"it was the same as {pair[0]} {where}, and is not any more",
                "tie the two again before saving, unless they are meant to be apart",
                tensors=len(kept),
            )  # fmt: skip


def _ties(model: Mapping[str, Content]) -> Iterator[list[str]]:
    names: dict[Content, list[str]] = defaultdict(list)
    for name, content in model.items():
        shape = content[2]
        if len(shape) > 1 and prod(shape) >= _LEAST_TIED and not (is_optimizer_state(name) or starts_at_zero(name)):
            names[content].append(name)
    yield from (found for found in names.values() if len(found) > 1)


def averaged_statistics(computed: Collection[TensorSpec]) -> Iterator[Finding]:
    """Find running statistics of normalisations that were computed from those of several sides."""
    for spec in computed:
        if is_running_statistic(spec.name):
            yield finding(
                "averaged-statistics", WARNING, spec.name,
                "it is made of what several models saw, and not of what this one sees",
                "let the merged model see some data in training mode, as `torch.optim.swa_utils.update_bn` does",
                count=prod(spec.shape),
            )  # fmt: skip
