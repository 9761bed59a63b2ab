"""The tensors of a comparison that moved furthest, as bars."""

from __future__ import annotations

from heapq import nlargest
from math import isfinite

from lamella.ops.comparison import ModelComparison
from lamella.pages.markup import Markup, broken, element, joined, shown
from lamella.pages.numbers import percent

_BARS = 12


def moved_most(comparison: ModelComparison, most: int) -> list[tuple[str, float]]:
    """Return up to `most` tensors that moved, relative to what they were, the furthest first, and how far."""
    moved = (
        (difference.after.name, relative)
        for difference in comparison.weights
        if difference.measures and (relative := difference.measures.relative) and isfinite(relative)
    )
    return nlargest(most, moved, key=lambda item: item[1])


def most_changed(comparison: ModelComparison) -> Markup | None:
    """Return the tensors that moved furthest as bars to one scale, None where none moved."""
    top = moved_most(comparison, _BARS)
    if not top:
        return None
    rows = [
        element(
            "tr",
            element("th", element("a", broken(name), href="#tensors", data_q=shown(name)), scope="row"),
            element("td", bar(share / top[0][1])),
            element("td", percent(share), class_="n"),
        )
        for name, share in top
    ]
    told = "Relative change, ‖b − a‖ over ‖a‖, of the tensors that moved furthest; bars begin at zero."
    return joined([element("p", told, class_="small"), element("table", element("tbody", *rows), class_="bars")])


def bar(share: float) -> Markup:
    """Return a share of 1 as a bar on a track of the width there is."""
    track = element("rect", class_="track", width="100%", height="100%")
    filled = element("rect", class_="filled", width=f"{100 * min(1.0, max(0.0, share)):.2f}%", height="100%")
    return element("svg", track, filled, class_="gauge", aria_hidden="true")
