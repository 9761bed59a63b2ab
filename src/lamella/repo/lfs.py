"""What Git LFS leaves in a repository: pointers in Git, and files under their SHA-256 beside it.

Pointers are described in the specification of Git LFS (docs/spec.md of its source); only those of version 1 without
extensions are understood, letter by letter, so that what a pointer says is never guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.core.limits import MAX_TENSOR_NBYTES
from lamella.repo.contents import KeptFile, plain_digest
from lamella.repo.git import Git, GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.objects import ObjectReader

POINTER_PREFIX = b"version https://git-lfs.github.com/spec/v1\n"
MAX_POINTER_NBYTES = 1024
"""The specification's own limit."""

_POINTER = re.compile(re.escape(POINTER_PREFIX) + rb"oid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says: the SHA-256 of the file and its length."""

    sha256: str
    nbytes: int


def parse_pointer(data: bytes) -> Pointer | None:
    """Return what a pointer says, None where `data` is none."""
    match = _POINTER.fullmatch(data)
    if match is None or int(match[2]) > MAX_TENSOR_NBYTES:
        return None
    return Pointer(match[1].decode(), int(match[2]))


def pointers_below(git: Git, tips: Sequence[GitOid]) -> Iterator[tuple[GitOid, Pointer]]:
    """Yield every blob that `tips` reach and that is a pointer."""
    with ObjectReader(git, limit_nbytes=MAX_POINTER_NBYTES, replace=False) as reader:
        for found in reader.read_each(_short_blobs(git, tips), prefix=POINTER_PREFIX):
            pointer = parse_pointer(found.data) if found is not None and found.data is not None else None
            if found is not None and pointer is not None:
                yield found.oid, pointer


def _short_blobs(git: Git, tips: Sequence[GitOid]) -> Iterator[GitOid]:
    walk = ("--no-replace-objects", "rev-list", "--objects", "--no-object-names", "--stdin")
    describe = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
    with git.start(*walk, stdin="pipe") as walking:
        walking.stdin.writelines(tip.encode() + b"\n" for tip in tips)
        walking.stdin.close()
        with git.start("--no-replace-objects", "cat-file", describe, stdin=walking.stdout) as describing:
            walking.stdout.close()
            for line in describing.stdout:
                oid, kind, nbytes, *_ = (*line.decode("ascii", "replace").split(), "0")
                if kind == "missing":
                    raise damaged(f"object {oid} is missing")
                if kind == "blob" and len(POINTER_PREFIX) < int(nbytes) <= MAX_POINTER_NBYTES:
                    yield GitOid(oid)


class LfsStorage:
    """Where Git LFS keeps files: `.git/lfs/objects`, or what `lfs.storage` says."""

    def __init__(self, git: Git) -> None:
        setting = git.run("config", "--type=path", "lfs.storage", check=False).rstrip(b"\n")
        storage = git.common_dir / (os.fsdecode(setting) or "lfs")
        self.folder = storage / "objects"

    def content(self, pointer: Pointer) -> KeptFile:
        """Return the file that a pointer stands for."""
        digest = pointer.sha256
        place: Path = self.folder / digest[:2] / digest[2:4] / digest
        return KeptFile(f"sha256:{digest}", pointer.nbytes, (place,), (plain_digest("sha256"),))
