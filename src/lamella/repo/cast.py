"""Casting tensors piece by piece, and counting exactly what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DType
from lamella.core.errors import UsageError
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.core.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

FLOATS = ("f16", "bf16", "f32", "f64")
"""What a dtype without a pattern is cast from: numbers that mean what they say, with no scale beside them."""

_SMALL_FLOATS = ("f8_e4m3", "f8_e5m2", "f8_e4m3fnuz", "f8_e5m2fnuz")
_INTEGERS = ("bool", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")
_COMPLEX = ("c64", "c128")
_WIDER = ("f64", "i32", "u32", "i64", "u64")
"""What f32 does not hold exactly."""

_BLOCK_NBYTES = 1 << 17
"""What is cast at once, with all that is counted of it, stays in the cache; whole items of any dtype."""


@dataclass(slots=True)
class Loss:
    """What casts did to the values, all tensors together.

    `changed` of `elements` values are not what they were. `max_absolute` and `max_relative` are the largest errors of
    values that stayed finite, relative to the value before. `overflows` values were finite and are no more, `flushed`
    were not zero and are now. `nans` were no numbers and stay so.
    """

    tensors: int = 0
    elements: int = 0
    changed: int = 0
    max_absolute: float = 0.0
    max_relative: float = 0.0
    overflows: int = 0
    flushed: int = 0
    nans: int = 0


def check_cast(spec: TensorSpec, target: DType) -> None:
    """Raise UsageError (dtype-unsupported) for what is no cast: of packed nibbles, of bare exponents, to integers.

    A quantisation chooses scales, which a cast does not.
    """
    kinds = ((*FLOATS, *_SMALL_FLOATS), _INTEGERS, _COMPLEX)
    source = next((number for number, names in enumerate(kinds) if spec.dtype.name in names), None)
    wanted = next((number for number, names in enumerate(kinds) if target.name in names), None)
    if source is None or wanted is None or (source != wanted and (source, wanted) != (1, 0)):
        raise UsageError(
            f"tensor {spec.name[:80]!r} cannot be cast from {spec.dtype.name} to {target.name}",
            kind="dtype-unsupported",
            hint="floats become floats, integers integers or floats, complex numbers complex numbers",
        )


def cast(pieces: Iterator[Buffer], spec: TensorSpec, target: DType, loss: Loss) -> Iterator[Buffer]:
    """Yield the elements of a tensor in `target`, rounded to the nearest, ties to even, and count in `loss`.

    Raises UsageError (bad-argument) for an integer that does not fit into the integers of `target`.
    """
    import numpy

    before, after = numpy_dtype(spec.dtype.name), numpy_dtype(target.name)
    integers = spec.dtype.name in _INTEGERS and target.name in _INTEGERS
    # ml_dtypes goes to its floats by way of f32, and what is rounded to the nearest twice may not be the nearest.
    twice = target.name in ("bf16", *_SMALL_FLOATS) and spec.dtype.name in _WIDER
    loss.tensors += 1
    for piece in _blocks(pieces, spec.dtype.bits // 8):
        old = numpy.frombuffer(piece, before)
        with numpy.errstate(all="ignore"):
            new = (_odd_f32(old) if twice else old).astype(after)
        if integers:
            _check_fits(spec, target, old, new)
        else:
            _count(loss, old, new)
        loss.elements += old.size
        yield new.view(numpy.uint8).data


def _odd_f32(old: Array) -> Array:
    """Return numbers in f32, what it cannot hold rounded to odd: then rounding once more gives the nearest."""
    import numpy

    if old.dtype.kind in "iu":
        size = (abs(old.astype("i8")) if old.dtype.kind == "i" else old).astype("u8")
        cut = size >> numpy.uint64(11) | ((size & numpy.uint64(0x7FF)) != 0)
        exact = numpy.where(size >> numpy.uint64(53), cut * 2048.0, size.astype("f8"))
        old = numpy.where(old < 0, -exact, exact)
    near = old.astype("<f4")
    bits = near.view("<u4")
    inexact = (near != old) & ~numpy.isnan(old)
    bits -= inexact & (abs(near) > abs(old))
    bits |= inexact
    return near


def _blocks(pieces: Iterator[Buffer], item_nbytes: int) -> Iterator[Buffer]:
    """Yield pieces that end where an item does, none longer than is quick to go over several times."""
    rest = b""
    for piece in pieces:
        data = memoryview(rest + bytes(piece) if rest else piece)
        whole = len(data) - len(data) % item_nbytes
        rest = bytes(data[whole:])
        for start in range(0, whole, _BLOCK_NBYTES):
            yield data[start : min(whole, start + _BLOCK_NBYTES)]


def _check_fits(spec: TensorSpec, target: DType, old: Array, new: Array) -> None:
    import numpy

    if not numpy.array_equal(new.astype(old.dtype), old) or ((new < 0) != (old < 0)).any():
        raise UsageError(
            f"tensor {spec.name[:80]!r} has integers that do not fit into {target.name}",
            kind="bad-argument",
            hint="cast it to a wider dtype, or leave it as it is",
        )


def _count(loss: Loss, old: Array, new: Array) -> None:
    """Count the elements that changed; both are widened to what holds them, so that differences are rounded once."""
    import numpy

    integers = old.dtype.kind in "iu" and old.dtype.itemsize == 8
    wide = numpy.dtype("c16" if old.dtype.kind == "c" else "g" if integers else "f8")
    with numpy.errstate(all="ignore"):
        exact, made = old.astype(wide), new.astype(wide)
        if not numpy.isfinite(made).all():
            exact, made = _count_special(loss, exact, made)
        errors = abs(made - exact)
        changed = int(numpy.count_nonzero(errors))
        if changed:
            loss.changed += changed
            loss.flushed += int(numpy.count_nonzero(exact) - numpy.count_nonzero(made))
            loss.max_absolute = max(loss.max_absolute, float(errors.max()))
            exact[exact == 0] = 1  # has no error that it could be divided by
            errors /= abs(exact)
            loss.max_relative = max(loss.max_relative, float(errors.max()))


def _count_special(loss: Loss, exact: Array, made: Array) -> tuple[Array, Array]:
    """Count what is no number before or after, and return what is one in both."""
    import numpy

    nans = numpy.isnan(exact)
    lost = ~nans & ~numpy.isfinite(made)
    loss.nans += int(numpy.count_nonzero(nans))
    loss.overflows += int(numpy.count_nonzero(lost & numpy.isfinite(exact)))
    loss.changed += int(numpy.count_nonzero(lost & (exact != made)))
    finite = ~nans & ~lost
    return exact[finite], made[finite]
