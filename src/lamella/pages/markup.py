"""HTML that is put together from elements, in which every text is escaped unless it is markup itself."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from lamella.core.limits import MAX_PAGE_TEXT
from lamella.core.text import printable


class Markup(str):
    """HTML that may stand in a page as it is; all other text is escaped where it enters."""

    __slots__ = ()


Child = str | None
"""What an element holds: markup, text that is to be escaped, or nothing."""

_VOID = frozenset({"br", "col", "hr", "input", "meta", "wbr"})


def shown(text: str) -> str:
    """Return what a page shows of a text that a file holds: printable, and cut in its middle where it is long."""
    return _cut(printable(_cut(text)))


def _cut(text: str) -> str:
    if len(text) <= MAX_PAGE_TEXT:
        return text
    tail = MAX_PAGE_TEXT // 3
    return f"{text[: MAX_PAGE_TEXT - tail - 1]}…{text[-tail:]}"


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return an element.

    The name of an attribute is written with underscores, one at its end is dropped: ``class_``, ``aria_label``. True is
    an attribute without a value; None and False are no attribute.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    inside = "" if tag in _VOID else f"{joined(children)}</{tag}>"
    return Markup(f"<{tag}{written}>{inside}")


def joined(children: Iterable[Child], between: Child = "") -> Markup:
    """Return `children` after one another."""
    return Markup(_escaped(between).join(_escaped(child) for child in children if child is not None))


def broken(name: str) -> Markup:
    """Return a dotted name that may be broken behind its dots, slashes and underscores, and nowhere else first."""
    pieces = []
    for character in shown(name):
        pieces.append(escape(character))
        if character in "./_":
            pieces.append("<wbr>")
    return Markup("".join(pieces))


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(printable(str(value)))}"'


def _escaped(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escape(printable(child))
