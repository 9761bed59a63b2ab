"""The plain part of YAML that programs write: blocks of mappings, lists and scalars; nothing in it means an action.

DVC and MLflow write their small files so. Anchors, tags, merges, flow collections and several documents are refused,
and every scalar comes as the text that it is. The grammar is that of YAML 1.2 (yaml.org/spec/1.2.2), cut down.
"""

from __future__ import annotations

import json
import re
from typing import TypeAlias

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_YAML_NBYTES

Node: TypeAlias = "str | list[Node] | dict[str, Node] | None"

_DEEPEST = 32
_QUOTED_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*') *:(?: +|$)""")
_NO_KEY = ("[", "]", "{", "}", "&", "*", "!", "|", ">", "%", "@", "`", ",", "#", "?", "- ")
_BLOCK = re.compile(r"[|>][0-9+-]{0,2}(\s+#.*)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NULL = ("", "~", "null", "Null", "NULL")


def parse_yaml(data: bytes) -> Node:
    """Return what a document says; raise FormatError (header-malformed) where it is more than plain.

    Takes time and memory in proportion to the document.
    """
    if len(data) > MAX_YAML_NBYTES:
        raise _malformed(0, "it is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise FormatError("the file is not UTF-8", kind="header-malformed") from exc
    reader = _Reader(text)
    node = reader.block(0) if reader.rows else None
    if reader.at < len(reader.rows):
        raise _malformed(reader.rows[reader.at][0], "it stands further left than it should")
    return node


def _malformed(number: int, reason: str) -> FormatError:
    return FormatError(f"line {number} is not plain YAML: {reason}", kind="header-malformed")


class _Reader:
    """Reads rows from `at` on; a row is its line's number, its indentation and its text."""

    def __init__(self, text: str) -> None:
        self.rows: list[tuple[int, int, str]] = []
        self.at = 0
        for number, line in enumerate(text.split("\n"), 1):
            content = line.strip(" \r")
            if not content or content.startswith("#") or (content == "---" and not self.rows):
                continue
            if content.startswith("\t"):
                raise _malformed(number, "a tab indents it")
            self.rows.append((number, len(line) - len(line.lstrip(" ")), content))

    def block(self, depth: int) -> Node:
        """Return the node that begins at the current row, whose indentation is its own."""
        number, indent, text = self.rows[self.at]
        if depth > _DEEPEST:
            raise _malformed(number, "it nests too deeply")
        if text == "-" or text.startswith("- "):
            return self._list(indent, depth)
        if _key(text) is not None:
            return self._mapping(indent, depth)
        self.at += 1
        return self._scalar(number, text, indent - 1)

    def _list(self, indent: int, depth: int) -> Node:
        found: list[Node] = []
        while (row := self._next(indent)) is not None and (row[1] == "-" or row[1].startswith("- ")):
            number, text = row
            rest = text[1:].lstrip(" ")
            if rest:
                self.rows[self.at] = number, indent + len(text) - len(rest), rest
                found.append(self.block(depth + 1))
            else:
                self.at += 1
                found.append(self._below(indent + 1, depth))
        return found

    def _mapping(self, indent: int, depth: int) -> Node:
        found: dict[str, Node] = {}
        while (row := self._next(indent)) is not None:
            number, text = row
            split = _key(text)
            if split is None:
                raise _malformed(number, "it is no key with a value")
            self.at += 1
            key, rest = str(_plain(number, split[0]) or ""), split[1]
            if key in found or key == "<<":
                raise _malformed(number, "the key stands there already, or merges")
            if _BLOCK.fullmatch(rest):
                found[key] = "\n".join(self._deeper(indent))
            elif rest and not rest.startswith("#"):
                found[key] = self._scalar(number, rest, indent)
            else:
                following = self._next(indent)
                lists = following is not None and (following[1] == "-" or following[1].startswith("- "))
                found[key] = self._below(indent + (not lists), depth)
        return found

    def _next(self, indent: int) -> tuple[int, str] | None:
        """Return number and text of the current row where it has just this indentation."""
        if self.at == len(self.rows) or self.rows[self.at][1] != indent:
            return None
        return self.rows[self.at][0], self.rows[self.at][2]

    def _below(self, least: int, depth: int) -> Node:
        there = self.at < len(self.rows) and self.rows[self.at][1] >= least
        return self.block(depth + 1) if there else None

    def _deeper(self, indent: int) -> list[str]:
        """Take the rows that are further right than `indent`."""
        first = self.at
        while self.at < len(self.rows) and self.rows[self.at][1] > indent:
            self.at += 1
        return [text for _, _, text in self.rows[first : self.at]]

    def _scalar(self, number: int, text: str, indent: int) -> Node:
        if text in ("{}", "[]"):
            return {} if text == "{}" else []
        return _plain(number, " ".join((text, *self._deeper(indent))))


def _key(text: str) -> tuple[str, str] | None:
    """Split a key from what stands behind it; None where the text has none."""
    if text.startswith(("'", '"')):
        match = _QUOTED_KEY.match(text)
        return None if match is None else (match[1], text[match.end() :])
    key, colon, rest = text.partition(": ")
    if not colon:
        key, rest = text.removesuffix(":"), ""
        colon = text[len(key) :]
    key = key.rstrip()
    return None if not colon or not key or " #" in key or key.startswith(_NO_KEY) else (key, rest.strip())


def _plain(number: int, text: str) -> str | None:
    """Return the text of a scalar on one line; the empty ones are None."""
    if text.startswith("'"):
        match = re.fullmatch(r"'((?:[^']|'')*)'(\s+#.*)?", text)
        if match is None:
            raise _malformed(number, "the quotes do not match")
        return match[1].replace("''", "'")
    if text.startswith('"'):
        match = re.fullmatch(r'("(?:[^"\\]|\\.)*")(\s+#.*)?', text)
        try:
            quoted = str(json.loads(match[1])) if match else _refuse(number, "the quotes do not match")
        except ValueError:
            return _refuse(number, "the quoted text is malformed")
        return _refuse(number, "half a character is no text") if _SURROGATE.search(quoted) else quoted
    text = re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    if text.startswith(("&", "*", "!", "{", "[", "@", "`", "%", "|", ">")):
        return _refuse(number, "only plain and quoted text is read")
    return None if text in _NULL else text


def _refuse(number: int, reason: str) -> str:
    raise _malformed(number, reason)
