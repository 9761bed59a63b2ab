"""Which token stands in which row of a model's embedding, as the tokenizer's files beside the model say."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_TOKENS, MAX_VOCABULARY_NBYTES
from lamella.repo.lfs import POINTER_PREFIX
from lamella.repo.manifest import PREFIX
from lamella.repo.objects import ObjectReader

Read = Callable[[str], bytes | None]
"""Returns the content of a file beside the model, None where there is none, or it is too large to be one of these."""

Tokens = tuple[str | None, ...]

FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "added_tokens.json")
"""The files that tell."""


def vocabulary_at(reader: ObjectReader, revision: str, path: str) -> Tokens:
    """Return the tokens of the model at `path` by the tokenizer beside it at a revision. See `read_vocabulary`.

    Nothing is known where Git has a pointer in the place of the file.
    """
    folder = posixpath.dirname(path)

    def read(name: str) -> bytes | None:
        found = reader.read(f"{revision}:{posixpath.join(folder, name)}")
        data = None if found is None else found.data
        return None if data is None or data.startswith((POINTER_PREFIX, PREFIX)) else data

    return read_vocabulary(read)


def read_vocabulary(read: Read) -> Tokens:
    """Return for each row the token that stands there, None for one without; nothing where no file tells.

    These files are known, the first of them that is there counts: ``tokenizer.json`` of the tokenizers library,
    ``vocab.json`` and ``vocab.txt`` as transformers writes them, with ``added_tokens.json``. Raises FormatError
    (header-malformed, header-too-large) where one is not what its name says.
    """
    whole = read("tokenizer.json")
    if whole is not None:
        return _in_rows(_of_tokenizer(_parsed("tokenizer.json", whole)), "tokenizer.json")
    listed, lines = read("vocab.json"), read("vocab.txt")
    if listed is not None:
        numbers = list(_numbered(_parsed("vocab.json", listed), "vocab.json"))
    elif lines is not None:
        numbers = list(_of_lines(lines))
    else:
        return ()
    added = read("added_tokens.json")
    if added is not None:
        numbers += _numbered(_parsed("added_tokens.json", added), "added_tokens.json")
    return _in_rows(numbers, "vocab.json" if listed is not None else "vocab.txt")


def _parsed(name: str, text: bytes) -> Mapping[str, Any]:
    _check_length(name, text)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed(name, "it is no JSON") from None
    if not isinstance(found, dict):
        raise _malformed(name, "it is no object")
    return found


def _check_length(name: str, text: bytes) -> None:
    if len(text) > MAX_VOCABULARY_NBYTES:
        raise FormatError(
            f"{name} has {len(text)} bytes, and a vocabulary at most {MAX_VOCABULARY_NBYTES}",
            kind="header-too-large",
            hint="keep what is not a vocabulary under another name",
        )


def _of_tokenizer(found: Mapping[str, Any]) -> list[tuple[str, int]]:
    name = "tokenizer.json"
    model = found.get("model")
    listed = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(listed, dict):
        numbers = list(_numbered(listed, name))
    elif isinstance(listed, list):  # pairs of token and score, in their order
        if not all(isinstance(one, list) and one and isinstance(one[0], str) for one in listed):
            raise _malformed(name, "its vocabulary is no list of tokens")
        numbers = [(one[0], row) for row, one in enumerate(listed)]
    else:
        return []  # of a kind of which nothing is known
    added = found.get("added_tokens") or []
    if not isinstance(added, list) or not all(
        isinstance(one, dict) and isinstance(one.get("content"), str) for one in added
    ):
        raise _malformed(name, "its added tokens are no list of objects with a content")
    return [*numbers, *_numbered({one["content"]: one.get("id") for one in added}, name)]


def _numbered(found: Mapping[str, Any], name: str) -> Iterator[tuple[str, int]]:
    for token, number in found.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MAX_TOKENS:
            raise _malformed(name, f"{token[:40]!r} has no number from 0 to {MAX_TOKENS - 1}")
        yield token, number


def _of_lines(text: bytes) -> Iterator[tuple[str, int]]:
    _check_length("vocab.txt", text)
    try:
        lines = text.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise _malformed("vocab.txt", "it is no UTF-8") from None
    if len(lines) > MAX_TOKENS:
        raise _malformed("vocab.txt", f"it has {len(lines)} lines; {MAX_TOKENS} tokens are read")
    return ((line.removesuffix("\r"), row) for row, line in enumerate(lines))


def _in_rows(numbers: Iterable[tuple[str, int]], name: str) -> Tokens:
    rows: dict[int, str] = {}
    for token, number in numbers:
        if rows.setdefault(number, token) != token:
            raise _malformed(name, f"{rows[number][:40]!r} and {token[:40]!r} have one number")
    return tuple(rows.get(row) for row in range(max(rows, default=-1) + 1))


def _malformed(name: str, what: str) -> FormatError:
    return FormatError(
        f"{name} says no vocabulary: {what}",
        kind="header-malformed",
        hint="write it again with the program that it comes from",
    )
