"""Names of tensors as a file's tensors get them: one line of text, each once, in bounded memory."""

from __future__ import annotations

import re

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_NAME_NBYTES, MAX_NAMED_NBYTES

LINE_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What a name of one line does not have: control characters, and what Unicode calls separators."""

NO_TEXT = re.compile(f"{LINE_BREAKING.pattern}|[\ud800-\udfff]")
"""The same, and halves of surrogate pairs, which no encoding of Unicode can write."""

_TENSOR_NBYTES = 400
_EXTENT_NBYTES = 48
"""What a tensor takes in memory until it stands in a layout, beside its name, and what an extent of its shape takes.
Fixed numbers: which file is refused must not depend on the version of Python."""


class TensorNames:
    """The names given out for one file, and what its tensors may still take in memory.

    Every method raises FormatError: header-malformed for a name that is too long or no one line of text;
    too-many-tensors where the file lists more than a reader may hold.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        self._left_nbytes = MAX_NAMED_NBYTES

    def take(self, name: str, dimensions: int) -> str:
        """Return `name`, for a tensor of so many dimensions, or the first of `name#2`, ... that is free."""
        self._charge(name, dimensions)
        unique, number = name, self._counts.get(name, 1)
        while unique in self._taken:
            number += 1
            unique = f"{name}#{number}"
        if number > 1:
            self._counts[name] = number
        self._taken.add(unique)
        return unique

    def _charge(self, name: str, dimensions: int) -> None:
        if len(name.encode(errors="surrogatepass")) > MAX_NAME_NBYTES - 16 or NO_TEXT.search(name):
            raise FormatError(
                f"name {name[:80]!r} is too long, or not one line of text",
                kind="header-malformed",
                hint="rename the tensor and export the model again",
            )
        self._left_nbytes -= _TENSOR_NBYTES + _EXTENT_NBYTES * dimensions + len(name) * (1 if name.isascii() else 4)
        if self._left_nbytes < 0:
            raise FormatError(
                "file lists more tensors than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )
