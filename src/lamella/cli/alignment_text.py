"""How an alignment reads on a terminal: what is no longer what and where it was, whole blocks in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lamella.cli import render
from lamella.model.alignment import LEAST_SURE, RESIZED, Alignment, LayerPair, Pair
from lamella.model.layers import outer_block
from lamella.ops.align import AlignReport

HEAD = ("", "BEFORE", "AFTER", "REASON", "SURE")
SAME, RENAMED, MOVED, CHANGED_SIZE, ADDED, REMOVED, UNSURE = " ", "=", ">", "!", "+", "-", "?"


@dataclass(frozen=True, slots=True)
class _Row:
    mark: str
    before: str
    after: str
    reason: str = ""
    confidence: float | None = None

    def cells(self) -> list[str]:
        sure = "" if self.confidence is None else f"{int(100 * self.confidence) / 100:.2f}"
        return [self.mark, self.before, self.after, self.reason, sure]


def layer_rows(alignment: Alignment, *, everything: bool) -> Iterator[list[str]]:
    """Yield a row for each layer; of a block that became another with all its layers, one for all of them."""
    rows = [
        _Row(_mark(one, moved=one.moved), one.before, one.after, one.reason, one.confidence) for one in alignment.layers
    ]
    rows += [_Row(REMOVED, name, "") for name in alignment.removed_layers]
    rows += [_Row(ADDED, "", name) for name in alignment.added_layers]
    folded = list(_folded(rows))
    yield from (row.cells() for row in folded if everything or row.mark != SAME)


def tensor_rows(report: AlignReport, *, everything: bool) -> Iterator[list[str]]:
    """Yield a row for each tensor, with its shapes where they differ."""
    for pair in report.alignment.pairs:
        shapes = report.shapes_before[pair.before], report.shapes_after[pair.after]
        mark = _mark(pair, moved=False)
        old, new = pair.before, pair.after
        if shapes[0] != shapes[1]:
            old, new = f"{old} {render.shape(shapes[0])}", f"{new} {render.shape(shapes[1])}"
        if everything or mark != SAME:
            yield _Row(mark, old, new, pair.reason, pair.confidence).cells()
    yield from (_Row(REMOVED, name, "").cells() for name in report.alignment.removed)
    yield from (_Row(ADDED, "", name).cells() for name in report.alignment.added)


def summary(alignment: Alignment) -> str:
    """Return how many layers were matched, and what became of them."""
    counts = [
        ("kept", sum(_mark(one, moved=one.moved) == SAME for one in alignment.layers)),
        ("renamed", sum(one.before != one.after for one in alignment.layers)),
        ("moved", sum(one.moved for one in alignment.layers)),
        ("resized", sum(one.reason == RESIZED for one in alignment.layers)),
        ("unsure", sum(one.confidence < LEAST_SURE for one in alignment.layers)),
        ("removed", len(alignment.removed_layers)),
        ("added", len(alignment.added_layers)),
    ]
    told = ", ".join(f"{count:,} {what}" for what, count in counts if count)
    matched = f"{render.counted(len(alignment.layers), 'layer')} matched"
    tensors = f"{len(alignment.pairs):,} of {len(alignment.pairs) + len(alignment.removed):,} tensors"
    return f"{matched}, {tensors}{': ' if told else ''}{told}"


def _mark(pair: Pair | LayerPair, *, moved: bool) -> str:
    if pair.confidence < LEAST_SURE:
        return UNSURE
    if pair.reason == RESIZED:
        return CHANGED_SIZE
    return MOVED if moved else RENAMED if pair.before != pair.after else SAME


def _folded(rows: Sequence[_Row]) -> Iterator[_Row]:
    """Yield rows, those that tell the same of several layers as one, where the first of them was.

    Such are layers that a block took along with it, and layers that were renamed in the same way in every block.
    """
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.mark, *_what_moves(row)), []).append(row)
    for (mark, before, after), group in groups.items():
        if len(group) == 1:
            yield group[0]
            continue
        reasons = dict.fromkeys(row.reason for row in group if row.reason)
        sure = min((row.confidence for row in group if row.confidence is not None), default=None)
        count = f" ({render.counted(len(group), 'layer')})"
        old, new = f"{before}{count}" if before else "", f"{after}{'' if before else count}" if after else ""
        yield _Row(mark, old, new, ", ".join(reasons), sure)


def _what_moves(row: _Row) -> tuple[str, str]:
    """Return what a row tells of: two blocks, what layers of all blocks are called, or two layers."""
    before, after = outer_block(row.before), outer_block(row.after)
    if not (before or after):
        return row.before, row.after
    if not (row.before and row.after) or row.before[len(before) :] == row.after[len(after) :]:
        return before, after
    if before and after and row.mark == RENAMED and _number(before) == _number(after):
        return f"{_stack(before)}*{row.before[len(before) :]}", f"{_stack(after)}*{row.after[len(after) :]}"
    return row.before, row.after


def _stack(block: str) -> str:
    return block.rstrip("0123456789")


def _number(block: str) -> str:
    return block[len(_stack(block)) :]
