"""Objects of Git's of any kind, byte for byte: many are written as one pack that Git itself indexes and flushes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

from lamella.core.limits import MAX_MANIFEST_NBYTES
from lamella.repo.git import Git, GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.objects import ObjectReader

_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_PENDING_NBYTES = 32 << 20
_PENDING_OBJECTS = 20_000
"""What waits in memory until it is written: a pack a commit would leave thousands of them behind."""

_RECENT_OBJECTS = 4096
_RECENT_NBYTES = 16 << 10
"""What was read and is kept at hand, being asked for again soon: the trees from one commit to the next."""


class ObjectWriter:
    """Writes objects and reads back what it wrote, and everything else that Git has. Use it in a `with` block.

    What was added is in Git and durable once `flush` returns, and not before; a process that dies leaves nothing. The
    bytes of an object are the caller's: a commit may hold headers and encodings that no command of Git's would write.
    Replacements (`git replace`) are not honoured. One that is not `keeping` only says what would be added.
    """

    def __init__(self, git: Git, *, keeping: bool = True) -> None:
        self._git = git
        self._keeping = keeping
        self._reader = ObjectReader(git, limit_nbytes=MAX_MANIFEST_NBYTES, replace=False)
        self._pending: dict[GitOid, tuple[str, bytes]] = {}
        self._pending_nbytes = 0
        self._written: set[GitOid] = set()
        self._recent: dict[str, tuple[str, bytes]] = {}

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._reader.close()

    def add(self, kind: str, data: bytes) -> GitOid:
        """Add an object and return its id; what was added before is not added again."""
        oid = self.name(kind, data)
        if oid not in self._written:
            self._written.add(oid)
            self._pending[oid] = (kind, data)
            self._pending_nbytes += len(data)
            if self._pending_nbytes > _PENDING_NBYTES or len(self._pending) > _PENDING_OBJECTS:
                self.flush()
        return oid

    def name(self, kind: str, data: bytes) -> GitOid:
        """Return the id that an object has."""
        return GitOid(self._digest(b"%s %d\0" % (kind.encode(), len(data)), data).hex())

    def read(self, oid: str) -> tuple[str, bytes]:
        """Return the kind and the bytes of an object; raise BackendError (git-failed) where Git does not have it."""
        if oid in self._pending:
            return self._pending[GitOid(oid)]
        if oid in self._recent:
            return self._recent[oid]
        found = self._reader.read(oid)
        if found is None or found.data is None:
            raise damaged(f"object {oid} is missing, or too large for what it should be")
        if found.nbytes <= _RECENT_NBYTES:
            if len(self._recent) >= _RECENT_OBJECTS:
                del self._recent[next(iter(self._recent))]
            self._recent[oid] = found.type, found.data
        return found.type, found.data

    def flush(self) -> None:
        """Bring everything that was added to stable storage."""
        if self._pending and self._keeping:
            self._git.run("index-pack", "--stdin", input=self._pack(list(self._pending.values())))
        self._pending.clear()
        self._pending_nbytes = 0

    def _digest(self, *parts: bytes) -> bytes:
        hasher = hashlib.new(self._git.hash_name, usedforsecurity=False)
        for part in parts:
            hasher.update(part)
        return hasher.digest()

    def _pack(self, objects: Sequence[tuple[str, bytes]]) -> bytes:
        """Return a pack of whole objects, as gitformat-pack(5) describes it."""
        parts = [b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")]
        for kind, data in objects:
            parts += [_entry_head(_KINDS[kind], len(data)), zlib.compress(data)]
        return b"".join((*parts, self._digest(*parts)))


def _entry_head(kind: int, nbytes: int) -> bytes:
    """Return type and length: four bits of the length beside the type, then seven bits a byte, the lowest first."""
    head, nbytes = [kind << 4 | nbytes & 15], nbytes >> 4
    while nbytes:
        head[-1] |= 128
        head.append(nbytes & 127)
        nbytes >>= 7
    return bytes(head)
