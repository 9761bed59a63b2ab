"""The other files of a folder in one commit of a history, for formats of which a neighbour says what is in a file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lamella.core.errors import LamellaError
from lamella.core.limits import MAX_NEIGHBOUR_NBYTES, MAX_NEIGHBOURS
from lamella.formats.base import RandomAccess
from lamella.repo.contents import Content


class CommitNeighbours:
    """The files of one folder by name, for `lamella.formats.base.Neighbours`. Use it in a `with` block.

    Each is held against its name before anybody sees it. One that is not here, is another than its name says, or is
    longer than MAX_NEIGHBOUR_NBYTES is not opened; of a folder with more than MAX_NEIGHBOURS files, none is listed.
    """

    def __init__(self, contents: Mapping[str, Content], temporary: Path) -> None:
        self._contents = contents
        self._temporary = temporary
        self._opened: dict[str, RandomAccess | None] = {}
        self._closing = ExitStack()

    def names(self) -> list[str]:
        """Return the names of the files, sorted, or none where there are too many."""
        return sorted(self._contents) if len(self._contents) <= MAX_NEIGHBOURS else []

    def open(self, name: str) -> RandomAccess | None:
        """Return the file of that name, None where there is none to be read."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> RandomAccess | None:
        content = self._contents.get(name)
        if content is None or content.nbytes > MAX_NEIGHBOUR_NBYTES:
            return None
        try:
            return self._closing.enter_context(content.opened(self._temporary))
        except LamellaError as error:
            if error.kind in ("object-missing", "object-wrong-id"):  # where it matters itself, that is told of it
                return None
            raise

    def __enter__(self) -> CommitNeighbours:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.clear()
        self._closing.close()
