"""Model files that are not in a worktree: kept by another tool under their digest, or whole in Git."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from lamella.core import fsio
from lamella.core.errors import FormatError, IntegrityError, NotFoundError
from lamella.core.limits import IO_NBYTES
from lamella.formats.base import RandomAccess
from lamella.formats.file import DescriptorFile
from lamella.repo.git import Git, GitOid


class Content(Protocol):
    """The bytes of one file."""

    @property
    def name(self) -> str:
        """What the bytes are called, the same for the same bytes: the digest and its algorithm."""
        ...

    @property
    def nbytes(self) -> int:
        """How many bytes there should be."""
        ...

    def is_here(self) -> bool:
        """Say whether there is a file for it, of the right length, without reading it."""
        ...

    def opened(self, temporary: Path) -> AbstractContextManager[RandomAccess]:
        """Lend the bytes, held against their name before anybody sees them; `temporary` is a folder for what is large.

        Raises NotFoundError (object-missing) where they are not here, IntegrityError (object-wrong-id) where they are
        others.
        """
        ...


Digest = Callable[[Iterator[bytes]], str]


def plain_digest(algorithm: str) -> Digest:
    """Return a function that digests the pieces of a file with an algorithm of `hashlib`."""

    def digest(pieces: Iterator[bytes]) -> str:
        hasher = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        for piece in pieces:
            hasher.update(piece)
        return hasher.hexdigest()

    return digest


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that another tool keeps at one of `places`; `nbytes` is negative where nobody says how long it is."""

    name: str
    nbytes: int
    places: tuple[Path, ...]
    digests: tuple[Digest, ...]

    def is_here(self) -> bool:
        """Say whether one of the places has a file of that length."""
        return self._place() is not None

    def _place(self) -> Path | None:
        for place in self.places:
            with contextlib.suppress(OSError):
                if place.is_file() and self.nbytes in (place.stat().st_size, -1):
                    return place
        return None

    @contextlib.contextmanager
    def opened(self, temporary: Path) -> Iterator[RandomAccess]:  # noqa: ARG002 -- it lies on disk as it is
        """Lend the file. See `Content.opened`."""
        place = self._place()
        if place is None:
            raise NotFoundError(f"{self.name} is not here", kind="object-missing", hint="fetch it, then run this again")
        with fsio.translated(place, reading=True), place.open("rb") as file:
            nbytes = place.stat().st_size
            source = DescriptorFile(file.fileno(), nbytes, place)
            wanted = self.name.rpartition(":")[2]
            if not any(digest(_pieces(source)) == wanted for digest in self.digests):
                hint = "remove that file and fetch it again"
                raise IntegrityError(f"{place} does not hold {self.name}", kind="object-wrong-id", hint=hint)
            yield source


def _pieces(source: DescriptorFile) -> Iterator[bytes]:
    for offset in range(0, source.nbytes, IO_NBYTES):
        yield bytes(source.read_at(offset, min(IO_NBYTES, source.nbytes - offset)))


@dataclass(frozen=True)
class WholeBlob:
    """A file that is in Git as it is; where nobody says how long it is, Git is asked."""

    git: Git
    oid: GitOid
    said_nbytes: int | None = None

    @cached_property
    def nbytes(self) -> int:
        """The length of the file."""
        if self.said_nbytes is not None:
            return self.said_nbytes
        return int(self.git.run("cat-file", "-s", self.oid))

    @property
    def name(self) -> str:
        """Git's own id."""
        return f"git:{self.oid}"

    def is_here(self) -> bool:
        """Say yes: Git has what its trees name."""
        return True

    @contextlib.contextmanager
    def opened(self, temporary: Path) -> Iterator[RandomAccess]:
        """Lend the file, which Git verified as it wrote it out. See `Content.opened`."""
        fsio.make_directory(temporary, durable=False)
        with fsio.spool(temporary) as spooled, self.git.start("cat-file", "blob", self.oid) as reading:
            with fsio.translated(temporary):
                while piece := reading.stdout.read(IO_NBYTES):
                    spooled.write(piece)
                spooled.flush()
            reading.end()
            if spooled.tell() != self.nbytes:
                raise FormatError(f"{self.name} ended too early", kind="file-truncated", hint="`git fsck` says more")
            yield DescriptorFile(spooled.fileno(), self.nbytes, self.name)
