"""One tensor looked at as a whole while its bytes pass by: its survey, its units, a sample, the rank of some rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.core.limits import MAX_UNITS
from lamella.core.tensors import TensorSpec
from lamella.model import kernels
from lamella.model.measure_reference import UNITS
from lamella.model.survey import Survey

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SAMPLED = 256
"""Elements of a tensor that are kept to tell whether another has nearly the same ones."""

LEAST_SAMPLED = 1024
"""Elements of a tensor of which a sample is kept."""

_RANKED_ROWS, _RANKED_ITEMS = 64, 1024
"""Of a matrix so many rows, evenly spaced, and so many of their first elements are held to find the rank."""

LEAST_RANK = 8
"""Rows and columns of a matrix of which the rank is worth knowing."""

_DEAD = 1e-6
"""A unit is dead whose norm is less than this, times the root of the mean square over all units."""

_BLOCK_FLOATS = 1 << 16
"""What is computed at once: it stays in the caches, and below the size at which memory is given back each time."""

_LEAST_SCALE, _LARGEST_SCALE = 1e-140, 1e140
"""Squares, and their sums, are made in float64, which has them of numbers between these."""

SURVEYED = frozenset(name for name in UNITS if DTYPES[name].bits % 8 == 0)
"""The dtypes whose elements are looked at: floats of whole bytes, and complex numbers as two floats each."""


@dataclass(frozen=True, slots=True)
class Units:
    """The rows or the columns of a matrix, as `axis` says: `count` of them, `dead` ones with next to nothing in them.

    `first` are the indices of the first dead ones, ascending.
    """

    axis: str
    count: int
    dead: int
    first: tuple[int, ...]


@dataclass(frozen=True)
class Examined:
    """What is known about one tensor. `survey` is None where nothing was read: dtypes without floats, and no elements.

    `digest` is the id of what it holds. `sample` are some of its elements in float32, `effective_rank` is that of
    `ranked` of its rows (Roy and Vetterli, "The effective rank", 2007: exp of the entropy of the singular values over
    their sum), None where the tensor is too small, or has numbers that are not finite.
    """

    spec: TensorSpec
    digest: bytes | None = None
    survey: Survey | None = None
    units: tuple[Units, ...] = ()
    sample: Array | None = None
    effective_rank: float | None = None
    ranked: int = 0


@dataclass(frozen=True)
class Partial:
    """What a block of a tensor's elements gives beside its survey."""

    start: int
    rows: Array | None
    columns: Array | None
    sample: Array | None
    ranked: tuple[tuple[int, int, Array], ...]


Looked = tuple[Survey, list[Partial]]
"""What one run of elements gives."""


def is_examined(spec: TensorSpec) -> bool:
    """Say whether there is anything to look at in a tensor: it has elements, and they are floats."""
    return spec.dtype.name in SURVEYED and spec.nbytes > 0


class Examination:
    """The examination of one tensor. `look` may run in any thread, for any run of whole elements; `take` is for one.

    A unit is a row of the first axis, as PyTorch has it, and for a matrix also a column; the weights of more axes that
    are called kernel have their units on the last one, as in Keras and Flax.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._parts = 2 if spec.dtype.name in ("c64", "c128") else 1
        self.count = prod(spec.shape) * self._parts
        self._survey: Survey | None = None
        self._step = max(1, self.count // SAMPLED) | 1
        rank, last = len(spec.shape), spec.shape[-1] * self._parts if spec.shape else 0
        by_columns = rank > 2 and spec.name.rpartition(".")[2].rpartition("/")[2].startswith("kernel")
        self._width = 0 if rank < 2 else last if by_columns else self.count // spec.shape[0]
        count = self.count // self._width if self._width else 0
        self._rows = self._zeros(0 if by_columns else count)
        self._columns = self._zeros(self._width if by_columns or rank == 2 else 0)
        is_ranked = min(count, self._width) >= LEAST_RANK
        self._ranked = self._zeros(min(count, _RANKED_ROWS) * min(self._width, _RANKED_ITEMS) if is_ranked else 0)
        self._every = max(1, count // _RANKED_ROWS)
        self._samples: list[Array] = []

    @staticmethod
    def _zeros(count: int) -> Array | None:
        import numpy

        return numpy.zeros(count) if 0 < count <= MAX_UNITS else None

    def look(self, start: int, data: Buffer) -> Looked:
        """Return what a run says that begins with the float numbered `start`."""
        view = memoryview(data).cast("B")
        nbytes = self.spec.dtype.bits // 8 // self._parts
        found = Survey(*kernels.survey(view, self.spec.dtype.name, len(view) // nbytes))
        if not self._width:
            return found, []
        step = _BLOCK_FLOATS * nbytes
        return found, [self._look(start + at // nbytes, view[at : at + step]) for at in range(0, len(view), step)]

    def _look(self, start: int, data: memoryview) -> Partial:
        import numpy

        values = numpy.empty(len(data) * 8 * self._parts // self.spec.dtype.bits)
        kernels.decode(data, self.spec.dtype.name, len(values), values)
        rows = columns = sample = None
        with numpy.errstate(all="ignore"):
            if self._rows is not None or self._columns is not None:
                squares = values * values
                rows = None if self._rows is None else _sums_of_rows(squares, start, self._width)
                columns = None if self._columns is None else _sums_of_columns(squares, start, self._width)
            if self.count >= LEAST_SAMPLED:
                sample = values[-start % self._step :: self._step].astype("f4")
        return Partial(start, rows, columns, sample, tuple(self._ranked_runs(values, start)))

    def _ranked_runs(self, values: Array, start: int) -> Iterator[tuple[int, int, Array]]:
        """Yield what is held of this run: the number of a row among those that are ranked, where in it, and what."""
        if self._ranked is None:
            return
        items = min(self._width, _RANKED_ITEMS)
        stride = self._every * self._width
        for number in range(max(0, start // stride), len(self._ranked) // items):
            begin = number * stride
            if begin >= start + len(values):
                return
            low, high = max(begin, start), min(begin + items, start + len(values))
            if low < high:
                yield number, low - begin, values[low - start : high - start]

    def take(self, looked: Looked) -> None:
        """Add what one run says to the rest; runs come in their order."""
        found, parts = looked
        self._survey = found if self._survey is None else self._survey + found
        for part in parts:
            self._take(part)

    def _take(self, part: Partial) -> None:
        if self._rows is not None and part.rows is not None:
            first = part.start // self._width
            self._rows[first : first + len(part.rows)] += part.rows
        if self._columns is not None and part.columns is not None:
            self._columns += part.columns
        if part.sample is not None:
            self._samples.append(part.sample)
        if self._ranked is not None:
            items = min(self._width, _RANKED_ITEMS)
            for number, at, values in part.ranked:
                self._ranked[number * items + at : number * items + at + len(values)] = values

    def result(self, digest: bytes | None, *, sampled: bool = True) -> Examined:
        """Return what is known once every run was taken; without `sampled`, no sample is kept."""
        import numpy

        found = self._survey
        assert found is not None
        units: list[Units] = []
        if found.is_finite and _LEAST_SCALE < found.max_absolute < _LARGEST_SCALE:
            units += [] if self._rows is None else [_units("row", self._rows)]
            units += [] if self._columns is None else [_units("column", self._folded(self._columns))]
        ranked, rank = self._ranked, None
        if ranked is not None and found.is_finite and found.max_absolute < _LARGEST_SCALE:
            rank = effective_rank(ranked.reshape(-1, min(self._width, _RANKED_ITEMS)))
        sample = numpy.concatenate(self._samples)[:SAMPLED] if self._samples and sampled else None
        rows = 0 if ranked is None else len(ranked) // min(self._width, _RANKED_ITEMS)
        return Examined(self.spec, digest, found, tuple(units), sample, rank, rows)

    def _folded(self, columns: Array) -> Array:
        """Return sums over columns, both parts of a complex number being one."""
        folded: Array = columns.reshape(-1, self._parts).sum(axis=1)
        return folded


def _sums_of_rows(squares: Array, start: int, width: int) -> Array:
    """Return the sum of each row that a run touches, the first and the last of which it may cut."""
    import numpy

    begins = numpy.arange(-(start % width), len(squares), width)
    begins[0] = 0
    sums: Array = numpy.add.reduceat(squares, begins, dtype=squares.dtype)
    return sums


def _sums_of_columns(squares: Array, start: int, width: int) -> Array:
    import numpy

    sums = numpy.zeros(width)
    head = min(-start % width, len(squares))
    sums[start % width : start % width + head] += squares[:head]
    whole = (len(squares) - head) // width * width
    sums += squares[head : head + whole].reshape(-1, width).sum(axis=0)
    sums[: len(squares) - head - whole] += squares[head + whole :]
    return sums


def _units(axis: str, sums: Array) -> Units:
    import numpy

    dead = numpy.flatnonzero(sums <= _DEAD**2 * sums.mean())
    return Units(axis, len(sums), len(dead), tuple(map(int, dead[:8])))


def effective_rank(matrix: Array) -> float | None:
    """Return exp of the entropy of the singular values of a matrix over their sum; None where all of it is zeros."""
    import numpy

    largest = float(numpy.abs(matrix).max(initial=0.0))
    if not largest:
        return None
    scaled = matrix / largest
    gram = scaled @ scaled.T if len(scaled) <= scaled.shape[1] else scaled.T @ scaled
    eigenvalues = numpy.linalg.eigvalsh(gram)
    # Squares know nothing below the rounding of the largest.
    kept = eigenvalues[eigenvalues > eigenvalues[-1] * len(gram) * numpy.finfo("f8").eps]
    shares = numpy.sqrt(kept)
    shares /= shares.sum()
    return float(numpy.exp(-(shares * numpy.log(shares)).sum()))
