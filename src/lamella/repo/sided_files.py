"""The files that the sides of a merge have otherwise than their base, and which of them are models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.repo.git import Git, GitOid
from lamella.repo.manifest import PREFIX
from lamella.repo.objects import ObjectReader

Entry = tuple[bytes, GitOid]
"""What a tree says of a file: its mode in Git's digits, and its blob."""

_REGULAR = b"100"


@dataclass(frozen=True, slots=True)
class SidedFile:
    """A file that is not the same everywhere: what it is in the base and on every side, None where it is not."""

    path: bytes
    base: Entry | None
    sides: tuple[Entry | None, ...]

    @property
    def changed(self) -> tuple[Entry | None, ...]:
        """What it is on the sides that changed it, each once."""
        return tuple(dict.fromkeys(one for one in self.sides if one != self.base))

    @property
    def mode(self) -> bytes:
        """The mode of the result, where there is one: that of the first side that changed it."""
        modes = [one[0] for one in self.sides if one is not None]
        return next((mode for mode in modes if self.base is None or mode != self.base[0]), modes[0])

    @property
    def regular(self) -> bool:
        """Whether it is a file wherever it is, and no link or submodule."""
        return all(one is None or one[0].startswith(_REGULAR) for one in (self.base, *self.sides))

    @property
    def blobs(self) -> tuple[GitOid, ...]:
        """The blobs that it has anywhere, each once, less links and submodules."""
        everywhere = (self.base, *self.sides)
        return tuple(dict.fromkeys(one[1] for one in everywhere if one is not None and one[0].startswith(_REGULAR)))


def list_sided(git: Git, base: GitOid, sides: Sequence[GitOid]) -> list[SidedFile]:
    """Return the files in which the trees `sides` are not as the tree `base`, in the order of their paths."""
    before: dict[bytes, Entry | None] = {}
    after: list[dict[bytes, Entry | None]] = []
    for side in sides:
        options = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev")
        fields = git.run("diff-tree", *options, base, side).split(b"\0")
        found: dict[bytes, Entry | None] = {}
        for row, path in zip(fields[0:-1:2], fields[1::2], strict=True):
            old_mode, mode, old, new, _ = row.removeprefix(b":").split(b" ")
            before[path], found[path] = _entry(old_mode, old), _entry(mode, new)
        after.append(found)
    paths = sorted(before)
    return [SidedFile(path, before[path], tuple(one.get(path, before[path]) for one in after)) for path in paths]


def _entry(mode: bytes, oid: bytes) -> Entry | None:
    return (mode, GitOid(oid.decode())) if mode.strip(b"0") else None


def find_renames(git: Git, base: GitOid, side: GitOid) -> dict[bytes, bytes]:
    """Return the paths of `base` that `side` has under others, as Git finds them, with those."""
    listing = git.run("diff-tree", "-r", "-z", "--find-renames", "--diff-filter=R", "--name-status", base, side)
    fields = listing.split(b"\0")[:-1]
    return dict(zip(fields[1::3], fields[2::3], strict=True))


def follow_renames(git: Git, base: GitOid, sides: Sequence[GitOid], files: Sequence[SidedFile]) -> list[SidedFile]:
    """Return `files` with each that a side renamed as one file, under its new name, as a merge of Git's has it."""
    by_path = {file.path: file for file in files}
    for side in sides:
        for before, after in find_renames(git, base, side).items():
            old, new = by_path.get(before), by_path.get(after)
            if old is not None and new is not None and new.base is None:
                entries = (one or other for one, other in zip(new.sides, old.sides, strict=True))
                by_path[after] = SidedFile(after, old.base, tuple(entries))
                del by_path[before]
    return [by_path[path] for path in sorted(by_path)]


def models_among(reader: ObjectReader, files: Sequence[SidedFile]) -> list[SidedFile]:
    """Return the files that are models, in the base or on any side."""
    blobs = list(dict.fromkeys(blob for file in files for blob in file.blobs))
    found = reader.read_each(blobs, prefix=PREFIX)
    models = {blob for blob, one in zip(blobs, found, strict=True) if one is not None and one.matches}
    return [file for file in files if not models.isdisjoint(file.blobs)]
