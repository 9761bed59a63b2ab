"""Small charts as paths of SVG, on a field of 400 by 100 that a page stretches as it likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite

from lamella.model.difference import Histogram

WIDTH, HEIGHT = 400, 100
_MOST_BARS = 64


def overlay(histogram: Histogram) -> tuple[str, str]:
    """Return the densities before and after, to one scale, as the outlines of two stepped areas."""
    edges, before, after = _coarser(histogram)
    widths = [right - left for left, right in pairwise(edges)]
    sides = [
        [n / width if width > 0 else 0.0 for n, width in zip(side, widths, strict=True)] for side in (before, after)
    ]
    highest = max((density for side in sides for density in side), default=0.0) or 1.0
    span = edges[-1] - edges[0] if edges else 0.0
    places = [round(WIDTH * (edge - edges[0]) / span) if span > 0 else 0 for edge in edges]
    return _stepped(places, sides[0], highest), _stepped(places, sides[1], highest)


def bars(values: Sequence[float]) -> str:
    """Return up to 64 values as bars beside each other, the highest as high as the field."""
    kept = values[:_MOST_BARS]
    highest = max(kept, default=0.0) or 1.0
    step = WIDTH / max(1, len(kept))
    gap = step / 5 if step > 5 else 0
    return "".join(
        f"M{number * step:.1f} {HEIGHT}V{_level(value, highest)}h{step - gap:.1f}V{HEIGHT}Z"
        for number, value in enumerate(kept)
        if value > 0
    )


def _stepped(places: Sequence[int], values: Sequence[float], highest: float) -> str:
    steps = "".join(f"V{_level(value, highest)}H{right}" for value, right in zip(values, places[1:], strict=False))
    return f"M0 {HEIGHT}{steps}V{HEIGHT}"


def _level(value: float, highest: float) -> int:
    """Return where a bar ends: what is not nothing is seen."""
    return HEIGHT - max(1 if value > 0 else 0, round(HEIGHT * value / highest))


def _coarser(histogram: Histogram) -> tuple[list[float], list[int], list[int]]:
    """Return the histogram with neighbours put together until few enough are left."""
    together = -(-len(histogram.before) // _MOST_BARS) or 1
    edges = [*histogram.edges[:-1:together], *histogram.edges[-1:]]
    return edges, list(_sums(histogram.before, together)), list(_sums(histogram.after, together))


def _sums(counts: Sequence[int], together: int) -> Iterator[int]:
    return (sum(counts[start : start + together]) for start in range(0, len(counts), together))


def line(values: Sequence[float | None], low: float, high: float) -> tuple[str, str]:
    """Return values beside each other, between `low` and `high`, as a line and as its points.

    A point is a stroke without length, which stays round when the field is stretched. The line stops where there is no
    value, or none that is finite.
    """
    span = high - low
    step = WIDTH / max(1, len(values) - 1)
    path, points, pen = [], [], "M"
    for number, value in enumerate(values):
        if value is None or not isfinite(value):
            pen = "M"
            continue
        level = HEIGHT * (1 - (value - low) / span) if span > 0 else HEIGHT / 2
        place = f"{number * step:.1f} {level:.1f}"
        path.append(f"{pen}{place}")
        points.append(f"M{place}h0")
        pen = "L"
    return "".join(path), "".join(points)
