"""The singular values of the difference of two tensors, which are read row by row, several times if need be.

Where the narrow side of the matrix is short, all values come from the product of the matrix with itself. Else a
randomised range finder with one step of subspace iteration gives the leading ones (Halko, Martinsson and Tropp 2011,
algorithms 4.4 and 5.1), in three passes and memory for some numbers of each row and column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.model import kernels
from lamella.model.difference import Spectrum

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

VALUES_KEPT = 64
SHARE_OF_RANK = 0.99
EXACT_SIDE = 1024
"""A side up to which all values are computed: its square of doubles takes 8 MiB."""
EXACT_ELEMENTS = 1 << 22
"""Elements of a matrix with few rows that is held as a whole: 32 MiB of doubles."""
SKETCH_NUMBERS = 3 << 20
"""Numbers of each sketch, 24 MiB of doubles; three are alive at once."""
LEAST_SKETCH = 8
BLOCK_ELEMENTS = 1 << 18
SEED = 1

Read = Callable[[], Iterator[tuple[Buffer, Buffer, int]]]
"""Reads both sides from the beginning, in runs of so many elements."""


def spectrum(
    read: Read, dtype_before: str, dtype_after: str, count: int, columns: int, largest: float = 1.0
) -> Spectrum | None:
    """Return the spectrum of b - a, `count` elements in rows of `columns`, what is not finite taken as 0.

    `largest` is the largest |b - a|: squares are taken of what is in parts of it, so that none overflows.
    None for what is no matrix, or has so many rows and columns that memory for eight numbers of each is too much.
    """
    rows = count // columns if columns else 0
    if rows < 2 or columns < 2:
        return None

    def blocks() -> Iterator[Array]:
        return _blocks(_differences(read(), dtype_before, dtype_after, scale), columns)

    # A power of two changes no digit.
    scale = 2.0 ** (math.frexp(largest)[1] - 1) if 0 < largest < math.inf else 1.0
    if columns <= EXACT_SIDE or (rows <= EXACT_SIDE and count <= EXACT_ELEMENTS):
        values, energy = _all_values(blocks(), rows, columns)
        return _summary(values, energy, rows, columns, scale, exact=True)
    width = min(VALUES_KEPT, rows, SKETCH_NUMBERS // (rows + columns))
    if width < LEAST_SKETCH:
        return None
    values, energy = _leading_values(blocks, rows, columns, width)
    return _summary(values, energy, rows, columns, scale, exact=False)


def _differences(
    runs: Iterator[tuple[Buffer, Buffer, int]], dtype_before: str, dtype_after: str, scale: float
) -> Iterator[Array]:
    import numpy

    for before, after, count in runs:
        sides = numpy.empty((2, count))
        kernels.decode(before, dtype_before, count, sides[0])
        kernels.decode(after, dtype_after, count, sides[1])
        with numpy.errstate(all="ignore"):
            difference = sides[1] - sides[0]
        difference[~numpy.isfinite(difference)] = 0
        yield difference / scale


def _blocks(differences: Iterator[Array], columns: int) -> Iterator[Array]:
    """Yield whole rows, some at once."""
    import numpy

    held: list[Array] = []
    size = 0
    for difference in differences:
        held.append(difference)
        size += difference.size
        if size >= max(columns, BLOCK_ELEMENTS):
            joined = held[0] if len(held) == 1 else numpy.concatenate(held)
            whole = size - size % columns
            yield joined[:whole].reshape(-1, columns)
            held, size = [joined[whole:]], size - whole
    if size:
        yield numpy.concatenate(held).reshape(-1, columns)


def _all_values(blocks: Iterator[Array], rows: int, columns: int) -> tuple[Array, float]:
    """Return all singular values, as the roots of the eigenvalues of the smaller product of the matrix with itself."""
    import numpy

    if columns <= EXACT_SIDE:
        product = numpy.zeros((columns, columns))
        for block in blocks:
            product += block.T @ block
    else:
        whole = numpy.concatenate(list(blocks))
        product = whole @ whole.T
    squares = numpy.linalg.eigvalsh(product)[::-1][: min(rows, columns)]
    # What is below the rounding of the largest one is not known, and as good as none.
    squares = numpy.where(squares > squares[0] * len(product) * numpy.finfo(float).eps, squares, 0.0)
    return numpy.sqrt(squares), float(squares.sum())


def _leading_values(blocks: Callable[[], Iterator[Array]], rows: int, columns: int, width: int) -> tuple[Array, float]:
    """Return the leading singular values, and the sum of the squares of all."""
    import numpy

    directions = numpy.random.default_rng(SEED).standard_normal((columns, width))
    basis = numpy.linalg.qr(_times(blocks(), directions, rows)[0])[0]
    directions[:] = 0
    first = 0
    for block in blocks():
        directions += block.T @ basis[first : first + len(block)]
        first += len(block)
    del basis
    image, energy = _times(blocks(), numpy.linalg.qr(directions)[0], rows)
    values: Array = numpy.sqrt(numpy.maximum(numpy.linalg.eigvalsh(image.T @ image)[::-1], 0.0))
    return values, energy


def _times(blocks: Iterator[Array], directions: Array, rows: int) -> tuple[Array, float]:
    """Return the matrix times some directions, and the sum of its squares."""
    import numpy

    image = numpy.empty((rows, directions.shape[1]))
    first, energy = 0, 0.0
    for block in blocks:
        image[first : first + len(block)] = block @ directions
        first += len(block)
        energy += float((block * block).sum())
    return image, energy


def _summary(values: Array, energy: float, rows: int, columns: int, scale: float, *, exact: bool) -> Spectrum:
    import numpy

    side = min(rows, columns)
    squares = values**2
    rest = 0.0 if exact else max(0.0, energy - float(squares.sum()))
    others = side - len(values)
    each = math.sqrt(rest / others) if others else 0.0
    total = float(values.sum()) + others * each
    shares = values[values > 0] / total
    entropy = -float((shares * numpy.log(shares)).sum())
    if each:
        entropy -= others * each / total * math.log(each / total)
    wanted = SHARE_OF_RANK * energy
    reached = numpy.cumsum(squares)
    rank = int(numpy.searchsorted(reached, wanted)) + 1
    if rank > len(values):
        rank = len(values) + (math.ceil((wanted - float(reached[-1])) / each**2) if each else 0)
    distinct = _distinct(values, energy, rows, columns)
    kept = tuple(float(value) * scale for value in values[:VALUES_KEPT])
    return Spectrum(kept, math.exp(entropy), min(rank, side), distinct, exact)


def _distinct(values: Array, energy: float, rows: int, columns: int) -> int:
    """Return how many values are larger than the largest that noise with the energy of all below them has."""
    left = energy
    for number, value in enumerate(values[: min(rows, columns) - 1]):
        noise = math.sqrt(max(0.0, left) / ((rows - number) * (columns - number)))
        edge = noise * (math.sqrt(rows - number) + math.sqrt(columns - number))
        # The largest value of noise lies a little beside the edge, the less the larger the matrix is.
        if value <= edge * (1 + min(rows, columns) ** (-2 / 3)) or value <= 1e-6 * values[0]:
            return number
        left -= float(value) ** 2
    return len(values)
