"""How pages write numbers: three significant digits, and so that a script can read them back."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, isnan

from lamella.core.graphs import Extent
from lamella.core.limits import MAX_DIMENSIONS
from lamella.pages.markup import shown

NONE = "–"
"""What stands where there is no number."""


def figure(value: float | None, digits: int = 3) -> str:
    """Return `value` with so many significant digits: 0.0123, 1.23e-5; 12,345 is 12345."""
    if value is None:
        return NONE
    if not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if not value:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -3 <= power < digits + 2:
        return f"{value:.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}e{power}"


def percent(share: float | None) -> str:
    """Return a share of 1 as a percentage; what is not all is never written as all."""
    if share is None:
        return NONE
    text = figure(100 * share)
    if text == "100" and share < 1:
        text = "99.9"
    return f"{text}%" if isfinite(share) else text


def count(number: int) -> str:
    """Return a count with its thousands apart."""
    return f"{number:,}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a count and its noun, in the plural where it should be."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def extents(shape: Iterable[Extent]) -> str:
    """Return a shape, of a tensor or of a graph's value; ? is an axis of which nothing is said."""
    return " × ".join(map(_extent, list(shape)[:MAX_DIMENSIONS])) or "scalar"


def _extent(extent: Extent) -> str:
    return "?" if extent is None else count(extent) if isinstance(extent, int) else shown(extent)
