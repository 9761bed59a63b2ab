"""How a comparison of two models reads on a terminal, 80 columns wide and without colour if need be."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence

from lamella.cli import changes_text, render
from lamella.cli.structure_text import show_structure
from lamella.model.difference import TensorDifference
from lamella.ops.changes import FileChange
from lamella.ops.comparison import ModelComparison, Total

_SHOWN_TENSORS = 20
_SHOWN_ROUNDED = 3
_LEAST_NAME = 24
_UNLIMITED = 1 << 16
_INDENT = "  "
_HEADINGS = ("TENSOR", "D", "REL L2", "1-COS", "CHANGED", "MAX ULP", "")


def show_comparison(found: ModelComparison, change: FileChange, *, every: bool = False) -> None:
    """Print what changed: interface, structure, parameters, training; `every` tensor, or those that moved furthest.

    `change` is what ids say of the file. Where that is all there is to say, it is said alone.
    """
    if is_told_by_ids(found):
        changes_text.show_file(change, stat=False)
        return
    render.line(f"{change.path}: {_summary(found, change)}", bold=True)
    render.line(f"difference  {total_line(found.total)}")
    _interface(found)
    show_structure(found, every=every)
    _parameters(found, every=every)
    for title, changes in (("training", found.training), ("metadata", found.untold)):
        if changes:
            render.line(title, bold=True)
            changes_text.show_metadata(changes)


def _summary(found: ModelComparison, change: FileChange) -> str:
    """Return what happened to the tensors; ids alone would take those that have other names for others."""
    pairs, alignment = found.alignment.pairs, found.alignment
    renamed = sum(pair.renamed for pair in pairs)
    if not renamed:
        return changes_text.summary(change)
    counts = {"renamed": renamed, "added": len(alignment.added), "removed": len(alignment.removed)}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{told} of {render.counted(len(pairs) + len(alignment.added), 'tensor')}"


def is_told_by_ids(found: ModelComparison) -> bool:
    """Say whether the same tensors stand under the same names, and nothing else is known but metadata."""
    kept = all(one.same and not one.pair.renamed for one in found.tensors) and not found.added and not found.removed
    return kept and not found.interface and not (found.graph and found.graph.nodes)


def total_line(total: Total) -> str:
    """Return the weighted total with its parts, in one line."""
    parts = ", ".join(
        f"{part.name} {'unknown' if part.distance is None else f'{part.distance:.3g}'}" for part in total.parts
    )
    return f"{total.value:.3g}  ({parts})"


def _interface(found: ModelComparison) -> None:
    if not found.interface:
        return
    render.line("interface", bold=True)
    for one in found.interface:
        before, after = (render.cut(value) if value is not None else "nothing" for value in (one.before, one.after))
        render.line(f"{_INDENT}! {one.what} {one.name}: {before} -> {after}", fg="magenta")


def _parameters(found: ModelComparison, *, every: bool) -> None:
    if not found.tensors:
        render.line("parameters  none in common", bold=True)
        return
    weights = found.weights
    others = [one for one in weights if not one.same]
    render.line(f"parameters  {_moved_line(weights)}", bold=True)
    limit = _SHOWN_ROUNDED if all(one.rounding_only for one in others) else _SHOWN_TENSORS
    shown = others if every else sorted(others, key=_weight, reverse=True)[:limit]
    if shown:
        _table(shown)
    if len(others) > len(shown):
        render.line(f"{_INDENT}... {len(others) - len(shown):,} more moved less; --all shows them")
    counted = {one.after.name for one in weights}
    state = [one for one in found.tensors if one.after.name not in counted]
    if state:
        render.line(f"optimizer  {_moved_line(state)}", bold=True)
        if every:
            _table([one for one in state if not one.same])


def _moved_line(tensors: Sequence[TensorDifference]) -> str:
    """Return in one line how many tensors moved, and of how many nothing but their size is another."""
    count = render.counted(len(tensors), "tensor")
    others = [one for one in tensors if not one.same]
    if not others:
        return f"{count}, all the same"
    resized = sum(one.only_resized for one in others)
    points, same = sum(one.change_point for one in others), len(tensors) - len(others)
    told = f"{len(others) - resized:,} of {count} moved, {points:,} beyond epsilon"
    told += f"; {resized:,} only resized" if resized else ""
    told += f"; {same:,} the same" if same else ""
    return told + ("; all of it is rounding" if all(one.rounding_only for one in others) else "")


def _weight(one: TensorDifference) -> tuple[float, float]:
    """Sort by relative change; what went to or from NaN first, what cannot be measured last."""
    if one.measures is None:
        return (-1.0, 0.0)
    relative = one.measures.relative
    if one.measures.finite + one.measures.both < one.measures.count:
        return (float("inf"), float(one.measures.count))
    return (float("inf") if relative is None else relative, one.measures.mean_absolute)


def _table(shown: Sequence[TensorDifference]) -> None:
    cells = [(_name(one), *_cells(one)) for one in shown]
    width = _UNLIMITED if not sys.stdout.isatty() else shutil.get_terminal_size().columns
    rest = [max(len(row[column]) for row in (_HEADINGS, *cells)) for column in range(1, len(_HEADINGS))]
    room = max(_LEAST_NAME, width - len(_INDENT) - sum(rest) - 2 * len(rest))
    rows = [(shortened(name, room), *others) for name, *others in cells]
    render.columns([_HEADINGS, *rows], indent=_INDENT, right=frozenset(range(1, 6)))


def shortened(name: str, width: int) -> str:
    """Return a name in at most `width` letters: words from the left on become their first letter, numbers stay whole.

    What is still too long loses its middle.
    """
    words = re.split(r"([./])", name)
    for place in range(0, len(words) - 1, 2):
        if sum(map(len, words)) <= width:
            break
        if not words[place].isdecimal():
            words[place] = words[place][:1]
    short = "".join(words)
    if len(short) <= width:
        return short
    tail = (width - 3) * 2 // 3
    return f"{short[: width - 3 - tail]}...{short[len(short) - tail :]}"


def _name(one: TensorDifference) -> str:
    return f"{one.before.name} -> {one.after.name}" if one.pair.renamed else one.after.name


def _cells(one: TensorDifference) -> Iterator[str]:
    found = one.measures
    if found is None:
        yield from ("-", "-", "-", "-", "-", one.unread)
        return
    yield f"{found.mean_absolute:.2g}"
    yield percent(found.relative) if found.relative is not None else "-" if found.squares_before else "new"
    yield "-" if found.cosine_distance is None else f"{found.cosine_distance:.1g}"
    yield percent(found.changed / found.count) if found.count else "-"
    yield render.short(found.ulp_max) if found.ulps else "-"
    yield "; ".join(_remarks(one))


def percent(share: float) -> str:
    """Return a share in percent: two digits, or all of them before the point."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:,.0f}%"


def _remarks(one: TensorDifference) -> Iterator[str]:
    found = one.measures
    assert found is not None
    if one.recast:
        yield f"{one.before.dtype.name} -> {one.after.dtype.name}"
    if one.overlap is not None:
        yield f"{render.shape(one.before.shape)} -> {render.shape(one.after.shape)}"
    for what, before, after in (
        ("NaN", found.nan_before, found.nan_after),
        ("infinite", found.infinite_before, found.infinite_after),
    ):
        if before != after:
            yield f"{what}: {before:,} -> {after:,}"
    if one.rounding_only:
        yield "rounding"
    if one.row_points and one.row_points <= one.row_count // 2:
        yield f"{one.row_points:,} of {one.row_count:,} rows"
    if one.spectrum is not None:
        yield f"rank {one.spectrum.rank:,}{'' if one.spectrum.exact else '+'}"
