"""Which paths are filtered, and the lines of a .gitattributes file that say so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import UsageError
from lamella.repo.git import Git

FILTER = "lamella"
WITHOUT_FILTER = (
    *("-c", "filter.lamella.process=", "-c", "filter.lamella.clean=true", "-c", "filter.lamella.required=false"),
)
"""Lets Git report every model file whose stat changed, at once: what it holds is found out here, without a pipe."""

OURS = (b"filter=lamella", b"diff=lamella", b"merge=lamella", b"-text")
"""The attributes of a model file."""

_MAX_LINE_NBYTES = 2048
"""Git ignores longer lines."""

_LINE = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*"|[^ \t\r\n]+)(.*)', re.DOTALL)
_ESCAPE = re.compile(rb'\\([0-3][0-7]{2}|[abfnrtv"\\])')
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
FILTER_WORD = re.compile(rb"[-!]?filter(=|$)")
"""How a word begins that says whether, and by what, a file is filtered."""

_SPECIAL = re.compile(r"[*?\[\\]")
_NEEDS_QUOTES = re.compile(rb'[\x00-\x20"\x7f]|^#')


def filtered(git: Git, paths: Iterable[str]) -> list[str]:
    """Return those of `paths`, relative to the root, that carry `filter=lamella` in the worktree."""
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not asked:
        return []
    answers = git.run("check-attr", "-z", "--stdin", "filter", input=asked).split(b"\0")
    return [
        os.fsdecode(path) for path, value in zip(answers[0::3], answers[2::3], strict=False) if value == FILTER.encode()
    ]


def track(file: Path, pattern: str) -> bool:
    """Add a line for `pattern` to the .gitattributes at `file`, unless it has one; say whether it was added.

    A path as a shell knows it (`./a`, `/absolute/a`) means this one file, and a folder all that is below it. Raises
    UsageError (bad-argument, path-outside-worktree) for a pattern that Git would ignore or take for something else.
    """
    raw = _accepted(file.parent, pattern)
    line = b" ".join((quoted(raw), *OURS))
    if len(line) > _MAX_LINE_NBYTES:
        raise UsageError(f"the pattern {pattern[:80]!r} is too long for Git", kind="bad-argument")
    content = _read(file)
    if _decides(content, raw):
        return False
    ending = b"\r\n" if b"\r\n" in content else b"\n"
    if content and not content.endswith(b"\n"):
        content += ending
    fsio.write_file(file, content + line + ending)
    return True


def untrack(file: Path, pattern: str) -> bool:
    """Take our attributes off `pattern` in the .gitattributes at `file`; say whether there were any.

    `pattern` is what `track` would write for it, or what stands in the file. Other attributes of the same line stay,
    and a file left without a line is removed.
    """
    content = _read(file)
    meant = {os.fsencode(pattern), *_if_accepted(file.parent, pattern)}
    kept = b"".join(_without_ours(line, meant) for line in content.splitlines(keepends=True))
    if kept == content:
        return False
    if kept:
        fsio.write_file(file, kept)
    else:
        fsio.remove(file)
    return True


def patterns(file: Path) -> list[str]:
    """Return the patterns that carry `filter=lamella` in the .gitattributes at `file`, in its order, each once."""
    rows = [row for line in _read(file).splitlines() if (row := parse_line(line))]
    return [os.fsdecode(name) for name in dict.fromkeys(row[0] for row in rows if OURS[0] in row[2])]


def all_patterns(git: Git) -> list[str]:
    """Return the patterns that carry `filter=lamella` anywhere in the worktree, with the folder that they hold in."""
    listing = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", ":(glob)**/.gitattributes")
    found = patterns(git.common_dir / "info" / "attributes")
    for path in dict.fromkeys(os.fsdecode(path) for path in listing.split(b"\0")[:-1]):
        folder = os.path.dirname(path)
        found += [f"{pattern} in {folder}" if folder else pattern for pattern in patterns(git.root / path)]
    return found


def _read(file: Path) -> bytes:
    if file.is_symlink():
        raise UsageError(f"{file} is a symbolic link, which Git does not follow", kind="path-unsafe")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise fsio.backend_error(exc, file) from exc


def _accepted(directory: Path, pattern: str) -> bytes:
    """Return the bytes with which a .gitattributes in `directory` says what `pattern` means on a command line there."""
    raw = os.fsencode(_anchored(directory, pattern))
    wrong = None
    if not raw or b"\0" in raw:
        wrong = "names no path in this folder"
    elif raw.startswith(b"!"):
        wrong = "is negative, which Git forbids here"
    elif raw.startswith(b"[attr]"):
        wrong = "would define a macro"
    elif b".." in raw.split(b"/"):
        wrong = "climbs by `..`, which Git does not follow here"
    if wrong:
        hint = "name files or folders here, as in '*.safetensors'"
        raise UsageError(f"the pattern {pattern[:80]!r} {wrong}", kind="bad-argument", hint=hint)
    return raw


def _if_accepted(directory: Path, pattern: str) -> tuple[bytes, ...]:
    try:
        return (_accepted(directory, pattern),)
    except UsageError:
        return ()


def _anchored(directory: Path, pattern: str) -> str:
    """Return a path in the form of a pattern: from `directory`, without its dots, a folder as all that is below it.

    What is there under exactly this name is meant letter by letter.
    """
    if "\0" in pattern:
        return pattern
    whole = _relative(directory, pattern)
    parts = [part for part in whole.split("/") if part not in ("", ".")]
    path = "/".join(parts)
    there = bool(path) and os.path.lexists(directory / path)
    text = _SPECIAL.sub(r"\\\g<0>", path) if there else path
    if whole.endswith("/") or (there and os.path.isdir(directory / path)):
        return f"{text}/**" if path else ""
    return f"/{text}" if whole.startswith(("/", "./")) else text


def _relative(directory: Path, pattern: str) -> str:
    """Return an absolute path as one from `directory`; what is none on this machine is a pattern from there already."""
    if pattern.startswith(f"{directory}/"):
        return f".{pattern.removeprefix(str(directory))}"
    if not pattern.startswith("/") or not os.path.lexists(pattern) or os.path.lexists(directory / pattern.strip("/")):
        return pattern
    parent, name = os.path.split(pattern.rstrip("/"))
    path = os.path.join(os.path.realpath(parent), name)
    if not Path(path).is_relative_to(directory):
        raise UsageError(
            f"{pattern} lies outside of {directory}",
            kind="path-outside-worktree",
            hint="run `lamella track` in a folder above it, in the same repository",
        )
    return f"./{os.path.relpath(path, directory)}{'/' if pattern.endswith('/') else ''}"


def quoted(pattern: bytes) -> bytes:
    """Return a pattern as it stands in a .gitattributes."""
    if not _NEEDS_QUOTES.search(pattern):
        return pattern
    plain = pattern.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + re.sub(rb"[\x00-\x1f\x7f]", lambda match: b"\\%03o" % match[0][0], plain) + b'"'


def _unquoted(token: bytes) -> bytes:
    if not (len(token) > 1 and token.startswith(b'"') and token.endswith(b'"')):
        return token

    def character(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes((int(code, 8),)) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(character, token[1:-1])


def parse_line(line: bytes) -> tuple[bytes, bytes, list[bytes]] | None:
    """Return a line's pattern, the same as it is written, and its attributes; None where it has no pattern."""
    match = _LINE.fullmatch(line)
    if match is None or match[1].startswith(b"#") or match[1].startswith(b"[attr]"):
        return None
    return _unquoted(match[1]), match[1], match[2].split()


def _decides(content: bytes, pattern: bytes) -> bool:
    """Say whether the last line that sets a filter for exactly this pattern is wholly ours."""
    decided = False
    for line in content.splitlines():
        row = parse_line(line)
        if row and row[0] == pattern and any(FILTER_WORD.match(word) for word in row[2]):
            decided = set(OURS) <= set(row[2])
    return decided


def _without_ours(line: bytes, meant: set[bytes]) -> bytes:
    row = parse_line(line)
    if row is None or row[0] not in meant or OURS[0] not in row[2]:
        return line
    others = [word for word in row[2] if word not in OURS]
    ending = line[len(line.rstrip(b"\r\n")) :]
    return b" ".join((row[1], *others)) + ending if others else b""
