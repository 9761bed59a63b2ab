"""RegMean: the linear layer that is nearest to all sides on their own inputs, by least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamella.core.errors import ConflictError
from lamella.core.limits import MAX_GRAM_WIDTH
from lamella.model.merging.elements import alike, values, write
from lamella.model.merging.score import Tally
from lamella.model.merging.strategies.linear import summed
from lamella.model.merging.strategy import GRAM, Contents, Formula, Parameter, Settings, Span, Strategy
from lamella.model.merging.sums import shares

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class RegMean(Strategy):
    """(sum W_i G_i) (sum G_i)^-1, where G_i = sum x x' over the inputs x of side i (arXiv 2212.09849).

    W is a matrix of outputs times inputs, and G_i is kept beside it. What lies off the diagonal of G_i is multiplied by
    `shrink`. Tensors that are no matrices are averaged; elements that are the same on all sides are kept. It is all
    done element by element, in one order: linear algebra as libraries have it rounds differently from machine to
    machine.
    """

    name = "regmean"
    summary = "for matrices the least squares of all sides on their own inputs, by Gram matrices; else the mean"
    source = "arXiv 2212.09849"
    beside = GRAM
    parameters = (Parameter("shrink", 0.9, 0, 1, "what Gram matrices are multiplied by off their diagonals"),)
    weighted = False

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the least squares; raise ConflictError (merge-conflict) without Gram matrices that fit a matrix."""
        shape = contents.spec.shape
        if len(shape) != 2:
            return summed(shares(settings.weights))
        width = shape[1]
        if width > MAX_GRAM_WIDTH:
            raise _refused(f"it has {width:,} inputs, and Gram matrices of more than {MAX_GRAM_WIDTH:,} are not solved")
        grams = contents.companions(GRAM)
        if grams is None or grams.spec.shape != (width, width):
            raise _refused("not every side keeps the Gram matrix of its inputs beside it")
        factors = _solved(_matrices(grams, width, settings.values["shrink"]))

        def merge(span: Span, out: Any) -> Tally:
            import numpy

            total = numpy.zeros((span.count // width, width))
            same = alike(*span.sides, dtype=span.dtype)
            for side, factor in zip(span.sides, factors, strict=True):
                found = values(side, span.dtype, span.count)
                found[same & ~numpy.isfinite(found)] = 0
                rows = found.reshape(-1, width)
                with numpy.errstate(all="ignore"):
                    for place in range(width):
                        total += rows[:, place : place + 1] * factor[place]
            return write(total.reshape(-1), span, out, [(span.sides[0], same)])

        return merge


def _refused(reason: str) -> ConflictError:
    return ConflictError(reason, kind="merge-conflict", hint="choose another strategy for it, such as `average`")


def _matrices(grams: Contents, width: int, shrink: float) -> Array:
    """Return the Gram matrices of all sides, float64[sides, width, width], shrunk towards their diagonals."""
    import numpy

    def read(span: Span) -> list[Array]:
        return [values(side, span.dtype, span.count) for side in span.sides]

    found = numpy.concatenate(list(map(numpy.stack, grams.each(read))), axis=1).reshape(-1, width, width)
    diagonals = numpy.eye(width, dtype=bool)
    return numpy.where(diagonals, found, shrink * found)


def _solved(grams: Array) -> Array:
    """Return G_i (sum G_i)^-1 for all sides, by Gauss and Jordan's elimination of symmetric matrices.

    Raises ConflictError (merge-conflict) where their sum has no inverse.
    """
    import numpy

    total = grams[0].copy()
    for gram in grams[1:]:
        total += gram
    found = numpy.concatenate([total, *grams], axis=1)
    for place in range(len(total)):
        pivot = found[place, place]
        if not pivot > 0 or not numpy.isfinite(pivot):
            raise _refused("its Gram matrices together have no inverse")
        row = found[place] / pivot
        found -= found[:, place : place + 1] * row
        found[place] = row
    # What was solved is (sum G)^-1 G_i, and Gram matrices are symmetric.
    return numpy.stack([part.T for part in numpy.split(found[:, len(total) :], len(grams), axis=1)])
