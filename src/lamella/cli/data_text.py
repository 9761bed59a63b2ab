"""How changes of data read on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.cli import render
from lamella.model.data_difference import ADDED, REMOVED, ColumnChange, LabelCount, TableDifference
from lamella.ops.data_diff import DataComparison, DataFileChange

_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow"), "moved": (">", "cyan")}
_SHOWN = 20


def show(comparison: DataComparison, *, stat: bool = False) -> None:
    """Print every file that changed, what happened to its rows unless `stat` is asked for, and the distance."""
    single = comparison.files_before == comparison.files_after == 1 and len(comparison.files) == 1
    for change in comparison.files:
        mark, colour = (
            ("", {"bold": True}) if single else (f"{_MARKS[change.what][0]} ", {"fg": _MARKS[change.what][1]})
        )
        render.line(f"{mark}{change.path}: {summary(change)}", **colour)
        if change.table is not None and not stat:
            _show_table(change.table)
    if not single:
        counts = {what: sum(one.what == what for one in comparison.files) for what in _MARKS}
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        files = render.counted(comparison.files_after, "file")
        render.line(f"{files}: {', '.join(told)}" if told else f"{files}, none changed")
    if comparison.files:
        render.line(f"distance  {comparison.distance:.4g} of {comparison.unit} (0 the same, 1 nothing in common)")


def summary(change: DataFileChange) -> str:
    """Return what happened to one file, in one line without its path."""
    if change.earlier is not None:
        return f"moved from {change.earlier}"
    if change.unread:
        return f"changed; its rows were not compared: {change.unread}"
    if change.table is None:
        sizes = [render.size(nbytes) for nbytes in (change.nbytes_before, change.nbytes_after) if nbytes is not None]
        return f"{change.what}, {' -> '.join(sizes)}" if sizes else change.what
    return rows_in_words(change.table)


def rows_in_words(table: TableDifference) -> str:
    """Return what happened to the rows of a table."""
    about = "about " if table.share < 1 else ""
    within = f" in the {render.counted(len(table.compared), 'column')} that both have" if table.compared else ""
    if table.compared == ():
        return f"{table.rows_before:,} -> {render.counted(table.rows_after, 'row')}, no column in common"
    if table.reordered:
        return f"the same {render.counted(table.rows_after, 'row')}{within} in another order"
    if not table.added and not table.removed:
        return f"the same {render.counted(table.rows_after, 'row')}{within}"
    if table.at_least:
        groups = f"{table.groups_kept:,} of {render.counted(table.groups_after, 'group')} of rows the same"
        return (
            f"{table.rows_before:,} -> {render.counted(table.rows_after, 'row')}, {groups}, the others not read by row"
        )
    counts = f"{table.added:,} added, {table.removed:,} removed, {table.kept:,} kept"
    return f"{about}{counts} of {table.rows_before:,} -> {render.counted(table.rows_after, 'row')}{within}"


def _show_table(table: TableDifference) -> None:
    for column in table.columns[:_SHOWN]:
        render.line(f"  {_column(column)}", fg="magenta")
    if len(table.columns) > _SHOWN:
        render.line(f"  and {len(table.columns) - _SHOWN:,} columns more")
    if table.columns_reordered:
        render.line("  the columns stand in another order", fg="magenta")
    if table.label is not None:
        _show_labels(table.label, table.labels)
    if table.share < 1:
        render.note(f"estimated from {table.share:.2%} of the rows")


def _column(column: ColumnChange) -> str:
    if column.what == ADDED:
        return f"+ column {column.name}  {column.after}".rstrip()
    if column.what == REMOVED:
        return f"- column {column.name}  {column.before}".rstrip()
    return f"! column {column.name}: {column.before} -> {column.after}"


def _show_labels(name: str, labels: Sequence[LabelCount]) -> None:
    if not labels:
        render.line(f"  {name}: as many rows of each value")
        return
    rows = [
        (f"{name}={one.value}", f"{one.before:,}", "->", f"{one.after:,}", f"{one.after - one.before:+,}")
        for one in labels[:_SHOWN]
    ]
    render.columns(rows, indent="  ", right=frozenset({1, 3, 4}))
    if len(labels) > _SHOWN:
        render.line(f"  and {len(labels) - _SHOWN:,} values more")
