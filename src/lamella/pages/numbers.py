"""How pages write numbers: three significant digits, and so that a script can read them back."""

from __future__ import annotations

from math import isfinite, isnan

NONE = "–"
"""What stands where there is no number."""


def figure(value: float | None) -> str:
    """Return `value` with three significant digits: 0.0123, 1.2e-5, 12,300 is 12300."""
    if value is None:
        return NONE
    if not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if not value:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 99_950:
        digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else _digits(size)
        return f"{value:.{digits}f}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _digits(size: float) -> int:
    return 3 if size >= 0.09995 else 4 if size >= 0.009995 else 5


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
