"""A history that Git LFS has kept, or one with whole model files in Git, as something to be taken over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from lamella.core.limits import IO_NBYTES
from lamella.repo import takeover
from lamella.repo.checkins import Absent
from lamella.repo.contents import WholeBlob
from lamella.repo.git import Git, GitOid
from lamella.repo.lfs import LfsStorage, pointers_below
from lamella.repo.manifest import PREFIX
from lamella.repo.objects import ObjectReader
from lamella.repo.patterns import matches_any
from lamella.repo.transfer import Model
from lamella.repo.trees import File

_MAX_ATTRIBUTES_NBYTES = 100 * IO_NBYTES
"""Git reads no longer .gitattributes."""


class LfsOrigin:
    """Pointers of Git LFS become manifests where they stand, and so do whole files that match one of `patterns`.

    Without `patterns` every pointer is taken and no whole file; with them, only what they name, from the root, as
    .gitattributes there would. For `lamella.repo.transfer.Origin`; use it in a `with` block.
    """

    def __init__(self, git: Git, tips: Sequence[GitOid], patterns: Sequence[bytes]) -> None:
        self._git = git
        self._patterns = patterns
        self._storage = LfsStorage(git)
        self._pointers = dict(pointers_below(git, tips))
        self._reader = ObjectReader(git, limit_nbytes=_MAX_ATTRIBUTES_NBYTES, replace=False)
        self._whole: dict[GitOid, int] = {}
        self._text = lru_cache(maxsize=1 << 10)(self._read_text)

    def __enter__(self) -> LfsOrigin:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._reader.close()

    @property
    def unread(self) -> Sequence[Absent]:
        """Nothing: what is no pointer letter by letter is a file like any other."""
        return ()

    def wanted(self, file: File) -> bool:
        """Want pointers, what the patterns name, and .gitattributes."""
        if not file.regular:
            return False
        if _is_attributes(file):
            return True
        if self._patterns:
            return matches_any(self._patterns, file.path)
        return file.oid in self._pointers

    def models(self, files: Sequence[File]) -> Mapping[bytes, Model]:
        """Return what pointers stand for, and whole files as they are."""
        found = {}
        for file in files:
            pointer = self._pointers.get(file.oid)
            if pointer is not None:
                found[file.path] = Model(file.mode, self._storage.content(pointer))
            elif not _is_attributes(file) and (nbytes := self._whole_nbytes(file.oid)):
                found[file.path] = Model(file.mode, WholeBlob(self._git, file.oid, nbytes))
        return found

    def _whole_nbytes(self, oid: GitOid) -> int:
        """Return the length of a whole file, 0 for a manifest: it was taken over before."""
        if oid not in self._whole:
            found = self._reader.read(oid, prefix=PREFIX)
            self._whole[oid] = 0 if found is None or found.matches else found.nbytes
        return self._whole[oid]

    def texts(
        self, files: Sequence[File], taken: Collection[bytes], left: Collection[bytes]
    ) -> Mapping[bytes, bytes | None]:
        """Return every .gitattributes that has to say something else."""
        contents = {
            file.path.removesuffix(takeover.NAME): self._text(file.oid) for file in files if _is_attributes(file)
        }
        changed = takeover.taken_over(contents, taken, left, self._patterns)
        return {folder + takeover.NAME: content for folder, content in changed.items()}

    def _read_text(self, oid: GitOid) -> bytes:
        found = self._reader.read(oid)
        return b"" if found is None or found.data is None else found.data


def _is_attributes(file: File) -> bool:
    return file.path.rpartition(b"/")[2] == takeover.NAME
