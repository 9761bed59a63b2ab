"""The Strategy protocol: how a tensor that several sides changed, each in its own way, becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.merging.score import Tally

Found = TypeVar("Found")


SECOND_MOMENT, GRAM = "second-moment", "gram"
"""Kinds of what is kept beside a tensor, see `Contents.companions`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a strategy takes, its default, and what it may be: from `least` to `most`, both included.

    Where it is `whole` there is nothing between integers; one that is only yes or no is 0 or 1.
    """

    name: str
    default: float
    least: float
    most: float
    meaning: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What a strategy is told for one tensor: a value for each of its parameters, and a weight for each side.

    `weights` are those of the sides that take part, as the user gave them, or 1 for each. `apart` has the parameters of
    which every side has a value of its own, in the order of the sides.
    """

    values: Mapping[str, float]
    weights: tuple[float, ...]
    apart: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def each(self, name: str) -> tuple[float, ...]:
        """Return what a parameter is for every side."""
        return self.apart.get(name, (self.values[name],) * len(self.weights))


@dataclass(frozen=True, slots=True)
class Span:
    """Some neighbouring elements of a tensor, the same ones of the base and of every side, little-endian.

    `first` is the number of the first of `count` elements, in row-major order, a complex number being two. All buffers
    are of `dtype`, whatever the sides keep: what is narrower was widened, which is exact. Elements take whole bytes. Of
    `companions` there is one for each side, of doubles, where contents were joined with them.
    """

    first: int
    count: int
    dtype: str
    base: Buffer | None
    sides: tuple[Buffer, ...]
    companions: tuple[Buffer, ...] = ()


class Contents(Protocol):
    """One tensor, of one shape, as the base and several sides have it, read as often as a strategy has to."""

    @property
    def spec(self) -> TensorSpec:
        """The tensor as it will be in the result."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of the spans, in which formulas work."""
        ...

    @property
    def sides(self) -> int:
        """How many sides take part."""
        ...

    @property
    def has_base(self) -> bool:
        """Whether spans have a base."""
        ...

    @property
    def seed(self) -> int:
        """A number of 64 bits that follows from what base and sides hold, and from nothing else.

        It is the same for tied tensors, on every machine and in every order of the sides.
        """
        ...

    def each(self, function: Callable[[Span], Found]) -> Iterator[Found]:
        """Yield `function(span)` for all spans, in order, computed over the threads: one pass over the tensor.

        Spans are cut at the same places whatever the threads are, so sums made span by span are always the same. They
        are whole rows, along the last axis, where a row fits into one, of packed elements eight rows.
        """
        ...

    def companions(self, kind: str) -> Contents | None:
        """Return what the sides keep beside this tensor under a name for `kind`, None where one of them does not.

        They are floats and all of one shape. ``second-moment`` is what an optimizer such as Adam keeps of the squared
        gradients, of the tensor's own shape; ``gram`` the sum of x x' over the inputs x of a linear layer.
        """
        ...

    def join(self, kind: str) -> bool:
        """Have spans come with companions of that kind; say False where there are none of the tensor's own shape."""
        ...


Formula = Callable[[Span, Any], Tally]
"""Writes the result of a span to a writable buffer of as many bytes as a side of the span has, and says what it saw.

It may run in any thread, and several at once.
"""


class Strategy(Protocol):
    """A way to merge the elements of a tensor.

    What only one side changed, and what all that changed it made equal, was settled before; a side that left a tensor
    alone is not asked about it. A formula gives the same bits for the same contents and settings, on any machine, with
    any number of threads. Where no side moved an element, the formula keeps its bits. Strategies hold no state.
    """

    name: str
    """What the user calls it: lower case, with hyphens."""

    summary: str
    """What it does, in one sentence for a list."""

    source: str = ""
    """Where the formula comes from: a paper, by its number at arXiv or as it is cited."""

    parameters: tuple[Parameter, ...] = ()
    """What it can be told."""

    needs_base: bool = False
    """Whether it works on changes, and so cannot do without the version that the sides come from."""

    most_sides: int | None = None
    """How many sides it can merge, None for any number from two on."""

    weighted: bool = True
    """Whether the weights of the sides mean something to it."""

    symmetric: bool = True
    """Whether the order of the sides, taken together with their weights, means nothing: they are then always put into
    the order of their contents, so that it makes no difference to a single bit."""

    beside: str = ""
    """What kind of companions it needs, "" where it needs none."""

    adds: bool = False
    """Whether changes of the other sides are added to the first one, which stays as it is where only it changed."""

    def check(self, settings: Settings) -> None:  # noqa: ARG002 -- most have nothing to say
        """Raise UsageError (bad-argument) where values do not fit each other, or the weights of all sides."""
        return

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return what merges the spans of a tensor, having gone through it as often as that takes.

        Raises UsageError (bad-argument) where the weights of these sides do not fit, and ConflictError (merge-conflict)
        where these contents cannot be merged in this way.
        """
        ...
