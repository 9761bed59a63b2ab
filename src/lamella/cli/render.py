"""What reports look like: sizes, columns, colours where they are wanted, and JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from lamella.core.text import printable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(nbytes: float) -> str:
    """Return a length for people: three digits and a binary unit."""
    unit = 0
    while nbytes >= 1024 and unit < len(_UNITS) - 1:
        nbytes, unit = nbytes / 1024, unit + 1
    if unit == 0:
        return f"{int(nbytes)} B"
    return f"{nbytes:.{0 if nbytes >= 100 else 1}f} {_UNITS[unit]}"


def short(number: int) -> str:
    """Return a count for people: three digits and K, M, G or T, for thousands, millions and so on."""
    for exponent, unit in ((12, "T"), (9, "G"), (6, "M"), (3, "K")):
        if number >= 10**exponent:
            share = number / 10**exponent
            return f"{share:.{0 if share >= 100 else 1}f}{unit}"
    return str(number)


def shape(extents: Sequence[int]) -> str:
    """Return a tensor's shape, as narrow as it can be."""
    return f"[{','.join(map(str, extents))}]"


def cut(text: str, length: int = 60) -> str:
    """Return a text, or how it begins where it is longer."""
    return f"{text[:length]}..." if len(text) > length else text


def counted(number: int, noun: str) -> str:
    """Return `number` with its noun, in the plural where it should be."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def line(text: str = "", **style: Any) -> None:
    """Print one line of data, coloured where stdout is a terminal that wants it; control characters are escaped."""
    click.echo(styled(text, **style), color=_colour())


def lines(texts: Iterable[str]) -> None:
    """Print lines that `styled` made, all of them at once: a long history has a hundred thousand."""
    click.echo("\n".join(texts), color=_colour())


def styled(text: str, **style: Any) -> str:
    """Return `text` as `line` prints it."""
    return click.style(printable(text), **style) if style and _colour() else printable(text)


def note(text: str) -> None:
    """Print one line that is not data."""
    click.echo(printable(text), err=True)


def warning(text: str) -> None:
    """Print a warning."""
    click.echo(f"warning: {printable(text)}", err=True)


def incomplete(unread: Sequence[str], missing: Sequence[str]) -> None:
    """Tell what of a folder, or of the files that a model names, is not in what is printed."""
    if unread:
        note(f"not read: {', '.join(unread[:8])}{f', {len(unread) - 8} more' if len(unread) > 8 else ''}")
    for name in missing:
        warning(f"{name[:80]}, which the model takes, is missing")


def unread_versions(commits: Sequence[str]) -> None:
    """Warn of versions whose manifest cannot be read."""
    if commits:
        which = f"{commits[0][:10]}{f' and {len(commits) - 1} more' if len(commits) > 1 else ''}"
        warning(f"the manifest in {which} cannot be read; what it changed is told of the version behind it")


def _colour() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def columns(rows: Iterable[Sequence[str]], *, indent: str = "", right: frozenset[int] = frozenset()) -> None:
    """Print rows in aligned columns; those in `right` are flush right."""
    table = [[printable(cell) for cell in row] for row in rows]
    if not table:
        return
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [
            cell.rjust(w) if n in right else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo((indent + "  ".join(cells)).rstrip())


def emit_json(kind: str, report: Any) -> None:
    """Print a report as one JSON object with its type and version."""
    click.echo(json.dumps({"type": kind, "version": 1, **_plain(report)}))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value
