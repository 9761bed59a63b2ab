"""How the values of a tensor are printed: as NumPy prints them, as JSON, as hexadecimal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_LISTED_ELEMENTS
from lamella.core.numpy_dtypes import is_array, numpy_dtype
from lamella.ops.cat import Selected
from lamella.repo.arrays import to_array

if TYPE_CHECKING:
    import numpy

_SMALL_ELEMENTS = 1000
"""A tensor of more is summed up by the ends of its axes, as NumPy does."""

_WIDTH = 80
_EDGE, _SHORT_EDGE = 3, 1
_MANY_AXES = 4
_HEX_LINE_NBYTES = 32
_MOST_HEX_LINES = 32


def text_of(found: Selected) -> str:
    """Return the values for people: all of a small tensor, the ends of the axes of a large one."""
    spec = found.spec
    if not is_array(spec.dtype):
        return "\n".join(_hex_lines(found))
    import numpy

    small = math.prod(spec.shape) <= _SMALL_ELEMENTS
    edge = _EDGE if len(spec.shape) <= _MANY_AXES else _SHORT_EDGE
    array = to_array(spec, found.read()) if small else _ends(found, edge)
    threshold = _SMALL_ELEMENTS if small else 0
    return numpy.array2string(_widened(array), max_line_width=_WIDTH, threshold=threshold, edgeitems=edge)


def _ends(found: Selected, edge: int) -> numpy.ndarray[Any, Any]:
    """Return the ends of the axes, and one index between them for the dots that NumPy puts there."""
    import numpy

    shape = tuple(min(extent, 2 * edge + 1) for extent in found.spec.shape)
    array = numpy.zeros(shape, numpy_dtype(found.spec.dtype.name))
    for where, data in found.corners(edge):
        array[where] = numpy.frombuffer(data, array.dtype).reshape(array[where].shape)
    return array


def _widened(array: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """Return floats that NumPy does not know itself as ones that it prints in columns."""
    return array if array.dtype.type.__module__ == "numpy" else array.astype("f4")


def _hex_lines(found: Selected) -> Iterator[str]:
    number = 0
    rest = b""
    for piece in found.pieces():
        data = rest + piece
        whole = len(data) - len(data) % _HEX_LINE_NBYTES
        for start in range(0, whole, _HEX_LINE_NBYTES):
            if number == _MOST_HEX_LINES:
                yield f"... {found.spec.nbytes:,} bytes; --raw writes them all"
                return
            yield data[start : start + _HEX_LINE_NBYTES].hex(" ", -4)
            number += 1
        rest = data[whole:]
    if rest:
        yield rest.hex(" ", -4)


def listed_values(found: Selected) -> Any:
    """Return the values as JSON has them: nested lists, what is no number as text, a complex number as two.

    A dtype that NumPy has no array of becomes one text of hexadecimal bytes. Raises UsageError (bad-argument) for
    more elements than are printed one by one.
    """
    if math.prod(found.spec.shape) > MAX_LISTED_ELEMENTS:
        raise UsageError(
            f"{math.prod(found.spec.shape):,} elements are too many to list",
            kind="bad-argument",
            hint="name a part, as in `name[0:10]`, or take --npy or --raw",
        )
    if not is_array(found.spec.dtype):
        return found.read().hex()
    array = to_array(found.spec, found.read())
    return _plain(_widened(array).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
