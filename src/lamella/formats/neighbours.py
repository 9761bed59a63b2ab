"""The other files of a folder, opened as carefully as what names them is not to be trusted."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from lamella.core.fsio import translated
from lamella.core.limits import MAX_NEIGHBOURS
from lamella.formats.file import DescriptorFile


class FolderNeighbours:
    """The regular files of one folder, for `lamella.formats.base.Neighbours`. Close it, or use it in a `with` block.

    `directory_fd` stays the caller's to close. Of a folder with more than MAX_NEIGHBOURS files, none has neighbours.
    """

    def __init__(self, directory_fd: int, label: str | Path = "the folder") -> None:
        self._directory_fd = directory_fd
        self._label = label
        self._opened: dict[str, DescriptorFile | None] = {}
        self._closing = ExitStack()

    def names(self) -> list[str]:
        """Return the names of the regular files, sorted, or none where there are too many."""
        found: list[str] = []
        with translated(self._label), os.scandir(self._directory_fd) as entries:
            for entry in entries:
                if len(found) == MAX_NEIGHBOURS:
                    return []
                if entry.is_file(follow_symlinks=False):
                    found.append(entry.name)
        return sorted(found)

    def open(self, name: str) -> DescriptorFile | None:
        """Return the file of that name, None where it is no plain name, a link, hard-linked, or cannot be read."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> DescriptorFile | None:
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with suppress(OSError, ValueError):
            fd = os.open(name, flags, dir_fd=self._directory_fd)
            self._closing.callback(partial(os.close, fd))
            state = os.fstat(fd)
            if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
                return DescriptorFile(fd, state.st_size, name)
        return None

    def close(self) -> None:
        """Close every file that was opened."""
        self._opened.clear()
        self._closing.close()

    def __enter__(self) -> FolderNeighbours:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
