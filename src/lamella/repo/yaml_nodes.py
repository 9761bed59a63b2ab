"""YAML as plain values: mappings, lists and text, with nothing in it that means an action or stands for something else.

PyYAML's parser tells what stands in a document (yaml.org/spec/1.2.2); its constructors, which give tags a meaning, are
not asked. Anchors, aliases, tags, merges and several documents are refused, and every scalar comes as the text that it
is, so that nothing can expand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_YAML_DEPTH, MAX_YAML_NBYTES

if TYPE_CHECKING:
    import yaml

Node: TypeAlias = "str | list[Node] | dict[str, Node] | None"

_SURROGATE = re.compile("[\ud800-\udfff]")
_SYNTAX = "lines are indented with spaces, `key: value` has a space behind the colon, and brackets and quotes end"
_NULL = ("", "~", "null", "Null", "NULL")


def parse_yaml(data: bytes) -> Node:
    """Return what a document says; raise FormatError (header-malformed) where it is more than plain, or no YAML.

    Takes time and memory in proportion to the document.
    """
    import yaml

    if len(data) > MAX_YAML_NBYTES:
        raise _malformed(0, "it is too long", f"leave out what is not needed: {MAX_YAML_NBYTES} bytes are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        hint = "save it as UTF-8"
        raise FormatError("the file is not UTF-8", kind="header-malformed", hint=hint) from exc
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _document(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        reason = getattr(exc, "problem", None) or "a character in it is not allowed"
        raise _malformed(0 if mark is None else mark.line + 1, str(reason)[:80], _SYNTAX) from exc


def _malformed(number: int, reason: str, hint: str) -> FormatError:
    where = f"line {number}" if number else "the file"
    return FormatError(f"{where} is not plain YAML: {reason}", kind="header-malformed", hint=hint)


def _refuse(event: yaml.Event, reason: str, hint: str) -> FormatError:
    return _malformed(0 if event.start_mark is None else event.start_mark.line + 1, reason, hint)


def _document(events: Iterator[yaml.Event]) -> Node:
    """Return the one document of a stream, None where there is none."""
    import yaml

    found: list[Node] = []
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if found:
                raise _refuse(event, "a second document begins", "keep one document in a file")
            if event.tags:
                raise _refuse(event, "it gives tags a meaning", "leave the tags out")
        elif isinstance(event, yaml.NodeEvent):
            found.append(_node(event, events, 0))
    return found[0] if found else None


def _node(event: yaml.NodeEvent, events: Iterator[Any], depth: int) -> Node:
    import yaml

    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise _refuse(event, "anchors and aliases are not taken", "write out what stands behind the anchor")
    if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) or event.tag is not None:
        raise _refuse(event, "tags are not taken", "leave the tag out")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if depth >= MAX_YAML_DEPTH:
        raise _refuse(
            event, "it nests too deeply", f"at most {MAX_YAML_DEPTH} lists and mappings in each other are read"
        )
    if isinstance(event, yaml.SequenceStartEvent):
        return [_node(one, events, depth + 1) for one in _until(yaml.SequenceEndEvent, events)]
    found: dict[str, Node] = {}
    for one in _until(yaml.MappingEndEvent, events):
        key = _node(one, events, depth + 1)
        if isinstance(key, list | dict):
            raise _refuse(one, "a key is a text", "begin the line with a name and a colon")
        key = key or ""
        if key in found or key == "<<":
            raise _refuse(
                one, "the key stands there already, or merges", "name each key once, and write out what it merges"
            )
        found[key] = _node(next(events), events, depth + 1)
    return found


def _until(end: type[yaml.Event], events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _scalar(event: yaml.ScalarEvent) -> str | None:
    text = str(event.value)
    if _SURROGATE.search(text):
        raise _refuse(event, "half a character is no text", "write the character itself")
    return None if event.implicit[0] and text in _NULL else text
