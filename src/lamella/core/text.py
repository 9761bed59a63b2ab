"""Text of strangers, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with what has no glyph of its own escaped: no name can drive a terminal, or turn a line around."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
