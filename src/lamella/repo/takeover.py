"""The .gitattributes of a version whose files change hands from another filter to Lamella."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from lamella.repo.attributes import FILTER, FILTER_WORD, OURS, parse_line, quoted
from lamella.repo.patterns import escaped, matches

NAME = b".gitattributes"
LFS_WORDS = (b"filter=lfs", b"diff=lfs", b"merge=lfs", b"-text")


def taken_over(
    files: Mapping[bytes, bytes], taken: Collection[bytes], left: Collection[bytes], patterns: Collection[bytes]
) -> dict[bytes, bytes]:
    """Return the .gitattributes of a tree, by the folder that each lies in, that let us keep the files in `taken`.

    `files` are those that the tree has, a folder being "" or ending with a slash. Lines of Git LFS become ours in
    place, all of them where there are no `patterns`, else those that have one of these as their pattern; where files
    are taken, the root says each of the `patterns`. What then is still filtered differently gets a line for itself in
    the file of its own folder, the one that wins: ours for what is `taken`, that of Git LFS for what is `left`.
    """
    found = {folder: _converted(content, patterns) for folder, content in files.items()}
    if taken:
        for pattern in patterns:
            content = found.get(b"", b"")
            if not _says(content, pattern):
                found[b""] = _with_line(content, pattern, OURS)
    rules = _rules(found)
    for path in sorted(taken):
        if _filter_of(rules, path) != FILTER.encode():
            _add_exact(found, path, OURS)
    for path in sorted(left):
        if _filter_of(rules, path) == FILTER.encode():
            _add_exact(found, path, LFS_WORDS)
    return {folder: content for folder, content in found.items() if content != files.get(folder)}


def unfiltered(files: Mapping[bytes, bytes], paths: Iterable[bytes]) -> list[bytes]:
    """Return those of `paths` that the .gitattributes of a tree, by their folders, do not leave to us."""
    rules = _rules(files)
    return [path for path in paths if _filter_of(rules, path) != FILTER.encode()]


def _converted(content: bytes, patterns: Collection[bytes]) -> bytes:
    lines = []
    for line in content.splitlines(keepends=True):
        row = parse_line(line)
        if row and LFS_WORDS[0] in row[2] and (not patterns or row[0] in patterns):
            words = dict.fromkeys(_ours_for(word) for word in row[2])
            ending = line[len(line.rstrip(b"\r\n")) :]
            line = b" ".join((row[1], *dict.fromkeys((*words, *OURS)))) + ending
        lines.append(line)
    return b"".join(lines)


def _ours_for(word: bytes) -> bytes:
    return OURS[LFS_WORDS.index(word)] if word in LFS_WORDS else word


def _says(content: bytes, pattern: bytes) -> bool:
    """Say whether the last line that sets a filter for exactly this pattern is ours."""
    said = False
    for name, value in _filters(content):
        if name == pattern:
            said = value == FILTER.encode()
    return said


def _with_line(content: bytes, pattern: bytes, words: Iterable[bytes]) -> bytes:
    ending = b"\r\n" if b"\r\n" in content else b"\n"
    if content and not content.endswith(b"\n"):
        content += ending
    return content + b" ".join((quoted(pattern), *words)) + ending


def _filters(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the patterns of a file that say how to filter, in its order, each with the filter or nothing."""
    found = []
    for line in content.splitlines():
        row = parse_line(line)
        words = [word for word in row[2] if FILTER_WORD.match(word)] if row else []
        if row and words:
            found.append((row[0], words[-1].partition(b"=")[2] if words[-1].startswith(b"filter=") else b""))
    return found


Rules = dict[bytes, list[tuple[bytes, bytes]]]


def _rules(files: Mapping[bytes, bytes]) -> Rules:
    return {folder: _filters(content) for folder, content in files.items()}


def _filter_of(rules: Rules, path: bytes) -> bytes:
    """Return what filters `path`: the last line that says so in the folder that is nearest."""
    folder = path[: path.rfind(b"/") + 1]
    while True:
        for pattern, value in reversed(rules.get(folder, [])):
            if matches(pattern, path[len(folder) :]):
                return value
        if not folder:
            return b""
        folder = folder[: folder.rfind(b"/", 0, -1) + 1]


def _add_exact(found: dict[bytes, bytes], path: bytes, words: Iterable[bytes]) -> None:
    """Add a line for one file to the .gitattributes of its folder."""
    folder, name = path[: path.rfind(b"/") + 1], path[path.rfind(b"/") + 1 :]
    found[folder] = _with_line(found.get(folder, b""), b"/" + escaped(name), words)
