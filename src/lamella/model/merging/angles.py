"""Sines and angles that are the same on every machine, to the last bit.

The mathematical libraries of systems differ in the last places of what they return for sines. These here are made of
additions, products, quotients and square roots, each of which IEEE 754 rounds in one way only, in a fixed order. They
are right to within 1e-15.
"""

from __future__ import annotations

import math

HALVINGS = 3
_ARC = [(-1.0) ** n / (2 * n + 1) for n in range(11)]
_SINE = [(-1.0) ** n / math.factorial(2 * n + 1) for n in range(13)]


def arc_cosine(cosine: float) -> float:
    """Return the angle from 0 to pi of a cosine from -1 to 1: twice the arc tangent of sqrt((1 - c) / (1 + c))."""
    if cosine <= 0:
        return math.pi - arc_cosine(-cosine) if cosine else math.pi / 2
    return 2 * _arc_tangent(math.sqrt((1 - cosine) / (1 + cosine)))


def sine(angle: float) -> float:
    """Return the sine of an angle from 0 to pi."""
    near = math.pi - angle if angle > math.pi / 2 else angle
    return near * _series(_SINE, near * near)


def cosine(angle: float) -> float:
    """Return the cosine of an angle from 0 to pi: 1 - 2 sin^2 of its half."""
    if angle > math.pi / 2:
        return -cosine(math.pi - angle)
    half = sine(angle / 2)
    return 1 - 2 * (half * half)


def _arc_tangent(tangent: float) -> float:
    """Return the angle of a tangent from 0 to 1, its Taylor series being that of an eighth of it."""
    for _ in range(HALVINGS):
        tangent = tangent / (1 + math.sqrt(1 + tangent * tangent))
    return (1 << HALVINGS) * (tangent * _series(_ARC, tangent * tangent))


def _series(factors: list[float], power: float) -> float:
    """Return the sum of factors times powers, the highest first (Horner)."""
    total = 0.0
    for factor in reversed(factors):
        total = total * power + factor
    return total
