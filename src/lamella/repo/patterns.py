"""Patterns of .gitattributes held against paths of a history, where Git itself can only be asked about a worktree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

_CLASS = re.compile(rb"\[(?:[!^])?\]?(?:\[:[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_NAMED_CLASSES = {
    b"alnum": b"0-9A-Za-z", b"alpha": b"A-Za-z", b"digit": b"0-9", b"lower": b"a-z", b"upper": b"A-Z",
    b"space": rb"\s", b"xdigit": b"0-9A-Fa-f", b"punct": rb"!-/:-@\[-`{-~", b"blank": rb" \t",
}  # fmt: skip


def escaped(path: bytes) -> bytes:
    """Return a pattern that names just this path."""
    return re.sub(rb"[*?\[\\]", rb"\\\g<0>", path)


@lru_cache(maxsize=1 << 14)
def matches(pattern: bytes, path: bytes) -> bool:
    """Say whether a pattern names `path`, both relative to the folder of the .gitattributes that has it.

    Without a slash it is held against the name alone, as gitattributes(5) says; one that ends with a slash names no
    file, and one that cannot be read names none either. Takes time in proportion to the product of both lengths.
    """
    steps = _steps(pattern.removeprefix(b"/"))
    if b"/" not in pattern:
        path = path.rpartition(b"/")[2]
    if steps is None:
        return False
    places = _reached(steps, {0})
    for byte in path:
        places = _reached(steps, {after for place in places for after in _after(steps, place, byte)})
    return len(steps) in places


def _reached(steps: _Steps, places: set[int]) -> set[int]:
    """Add the places that can be reached without a byte."""
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        step = steps[place] if place < len(steps) else None
        passed = {"star": (1,), "rest": (1,), "deep": (1, 2)}.get(step, ()) if isinstance(step, str) else ()
        new = {place + far for far in passed} - places
        places |= new
        waiting += new
    return places


def _after(steps: _Steps, place: int, byte: int) -> tuple[int, ...]:
    """Return where a byte leads from a place."""
    step = steps[place] if place < len(steps) else None
    slash = byte == ord("/")
    if step == "inside":
        return (place, place + 1) if slash else (place,)
    if step == "rest" or (step == "star" and not slash):
        return (place,)
    return (place + 1,) if isinstance(step, frozenset) and byte in step else ()


def matches_any(patterns: Iterable[bytes], path: bytes) -> bool:
    """Say whether one of the patterns names `path`."""
    return any(matches(pattern, path) for pattern in patterns)


_Step: TypeAlias = "str | frozenset[int]"
_Steps: TypeAlias = "tuple[_Step, ...]"
"""What a pattern asks for, in order: one of some bytes, or

- `star`: anything but slashes;
- `deep`, `inside`: nothing, or anything that ends with a slash;
- `rest`: anything.
"""

_ANY = frozenset(range(256))


@lru_cache(maxsize=1 << 12)
def _steps(pattern: bytes) -> _Steps | None:
    """Return what a pattern means to Git's wildmatch, None where it means nothing."""
    steps: list[_Step] = []
    at = 0
    while at < len(pattern):
        stars = len(pattern[at:]) - len(pattern[at:].lstrip(b"*"))
        whole = stars > 1 and (at == 0 or pattern[at - 1 : at] == b"/")
        if whole and pattern[at + stars : at + stars + 1] == b"/":
            steps += ["deep", "inside"]
            at += stars + 1
        elif whole and at and at + stars == len(pattern):
            steps += [_ANY, "rest"]
            at += stars
        elif stars:
            steps.append("star")
            at += stars
        elif pattern[at : at + 1] == b"?":
            steps.append(_ANY - {ord("/")})
            at += 1
        elif pattern[at : at + 1] == b"[":
            found = _CLASS.match(pattern, at)
            if found is None or (members := _members(found[0])) is None:
                return None
            steps.append(members)
            at = found.end()
        else:
            at += pattern[at : at + 1] == b"\\"
            if at == len(pattern):
                return None
            steps.append(frozenset(pattern[at : at + 1]))
            at += 1
    return tuple(steps)


@lru_cache(maxsize=1 << 8)
def _members(text: bytes) -> frozenset[int] | None:
    """Return the bytes that a bracket expression names; a slash is never one."""
    try:
        expression = re.compile(_class(text), re.DOTALL)
    except re.error:
        return None
    return frozenset(byte for byte in range(256) if expression.fullmatch(bytes((byte,))))


def _class(text: bytes) -> bytes:
    """Return a bracket expression as `re` writes it; it never matches a slash."""
    negated = text[1:2] in (b"!", b"^")
    inner = text[2 if negated else 1 : -1]
    for name, members in _NAMED_CLASSES.items():
        inner = inner.replace(b"[:%s:]" % name, members)
    inner = re.sub(rb"\\(.)|([\]\[^&~|])", lambda match: b"\\" + (match[1] or match[2]), inner, flags=re.DOTALL)
    return b"(?!/)[%s%s]" % (b"^" if negated else b"", inner)
