"""The table of all tensors as its script takes it: one short list a tensor, and more of those that changed most."""

from __future__ import annotations

from heapq import nlargest
from math import inf, isnan
from typing import Any

from lamella.core.limits import MAX_PAGE_DETAILS, MAX_PAGE_ROWS
from lamella.model.difference import Spectrum, TensorDifference
from lamella.model.measures import Measures
from lamella.ops.comparison import ModelComparison
from lamella.pages.charts import bars, overlay
from lamella.pages.markup import shown
from lamella.pages.numbers import NONE, count, counted, extents, figure, percent
from lamella.pages.states import (
    ADDED,
    CHANGED,
    FLAGS,
    LABELS,
    REMOVED,
    ROUNDING,
    SAME,
    SLIGHT,
    STATES,
    UNREAD,
    flags,
    state,
)

_MOST_ROWS_MOVED, _MOST_ULPS = 10, 20

_RANK = {CHANGED: 5, SLIGHT: 4, ROUNDING: 3, UNREAD: 2, SAME: 0}


def change(difference: TensorDifference) -> tuple[int, float, float]:
    """Return what tensors are ordered by where the most changed come first: the state, relative L2, D."""
    found = difference.measures
    if found is None:
        return _RANK[state(difference)], 0.0, 0.0
    relative = found.relative
    known = inf if relative is None or isnan(relative) else relative
    return min(4, _RANK[state(difference)]), known, found.mean_absolute


def tensor_rows(comparison: ModelComparison) -> dict[str, Any]:
    """Return the rows of a comparison, in the order of the model after, then what was added, then what was removed.

    A row is the name, the name before where it is another, the dtype, the shape, D, relative L2, the cosine distance,
    the share of changed elements, the greatest change, the greatest distance in ULPs, the state, the flags as bits.
    Numbers are written out, so that pages write them in one way. `most` names the rows that changed most, `details` are
    by row. Of more rows than a page holds, those that changed least are left out.
    """
    alignment, tensors = comparison.alignment, comparison.tensors
    alone = [(name, ADDED) for name in alignment.added] + [(name, REMOVED) for name in alignment.removed]
    alone = alone[: MAX_PAGE_ROWS // 2]
    order = nlargest(MAX_PAGE_ROWS - len(alone), range(len(tensors)), key=lambda index: change(tensors[index]))
    kept = sorted(order)
    position = {index: row for row, index in enumerate(kept)}
    detailed = [index for index in order[:MAX_PAGE_DETAILS] if not tensors[index].same]
    rows = [_row(tensors[index]) for index in kept]
    rows += [[shown(name), "", "", "", *[NONE] * 6, STATES.index(what), 0] for name, what in alone]
    return {
        "rows": rows,
        "total": len(tensors) + len(alignment.added) + len(alignment.removed),
        "labels": LABELS,
        "flags": FLAGS,
        "details": {str(position[index]): _details(tensors[index]) for index in detailed},
    }


def _row(difference: TensorDifference) -> list[Any]:
    before, after = difference.before, difference.after
    bits = sum(1 << FLAGS.index(flag) for flag in flags(difference))
    return [
        shown(after.name),
        shown(before.name) if difference.pair.renamed else "",
        _both(before.dtype.name, after.dtype.name),
        _both(extents(before.shape), extents(after.shape)),
        *_columns(difference),
        STATES.index(state(difference)),
        bits,
    ]


def _columns(difference: TensorDifference) -> list[str]:
    found = difference.measures
    if found is None:
        return ["0"] * 6 if difference.same else [NONE] * 6
    return [
        figure(found.mean_absolute),
        percent(found.relative),
        figure(found.cosine_distance),
        percent(found.changed / found.count if found.count else 0.0),
        figure(found.max_absolute),
        count(found.ulp_max) if found.ulps else NONE,
    ]


def _details(difference: TensorDifference) -> dict[str, Any]:
    details: dict[str, Any] = {"facts": _facts(difference), "charts": []}
    charts = details["charts"]
    if difference.histogram is not None and difference.histogram.before:
        edges = difference.histogram.edges
        before, after = overlay(difference.histogram)
        charts.append(_chart("values", figure(edges[0]), figure(edges[-1]), before=before, after=after))
    if difference.measures is not None and difference.measures.ulps:
        charts.append(_ulps(difference.measures))
    if difference.spectrum is not None:
        charts.append(_spectrum(difference.spectrum))
    if difference.rows:
        furthest = max(row.mean_absolute for row in difference.rows) or 1.0
        kept = difference.rows[:_MOST_ROWS_MOVED]
        details["moved"] = {
            "note": f"{count(difference.row_points)} of {counted(difference.row_count, 'row')} exceed ε",
            "rows": [[count(r.index), figure(r.mean_absolute), round(100 * r.mean_absolute / furthest)] for r in kept],
        }
    return details


def _facts(difference: TensorDifference) -> list[list[str]]:
    pair, found = difference.pair, difference.measures
    facts = [["paired by", f"{pair.reason}, {percent(pair.confidence)} sure"]]
    if difference.overlap is not None:
        facts.append(["compared", f"{extents(difference.overlap)}, where the shapes overlap"])
    if found is None:
        return [*facts, ["not compared", shown(difference.unread)]] if difference.unread else facts
    facts += [
        ["elements", f"{count(found.count)}, of which {count(found.changed)} changed"],
        ["above ε", f"{count(found.above)} elements; ε is {figure(difference.epsilon)}"],
        ["norm", f"{figure(found.norm_before)} → {figure(found.norm_after)}"],
    ]
    for what, before, after in (
        ("NaN", found.nan_before, found.nan_after),
        ("infinite", found.infinite_before, found.infinite_after),
    ):
        if before or after:
            facts.append([what, f"{count(before)} → {count(after)}"])
    return facts


def _ulps(found: Measures) -> dict[str, str]:
    kept = found.ulps[:_MOST_ULPS]
    last = len(kept) - 1
    right = "0" if last < 1 else "1" if last == 1 else f"{count(2 ** (last - 1))}–{count(2**last - 1)}"
    note = f"at most {counted(found.ulp_max, 'ULP')}"
    return _chart("distance in ULPs, doubling", "0", right, note=note, bars=bars([float(n) for n in kept]))


def _spectrum(spectrum: Spectrum) -> dict[str, str]:
    values = counted(len(spectrum.values), "singular value") + ("" if spectrum.exact else ", the largest")
    note = f"effective rank {figure(spectrum.effective_rank)}; {count(spectrum.rank)} hold 99% of the squares"
    return _chart("spectrum of the change", values, "", note=note, bars=bars(spectrum.values))


def _chart(title: str, left: str, right: str, **parts: str) -> dict[str, str]:
    return {"title": title, "left": left, "right": right, **parts}


def _both(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
