"""What may be on a disk after the power went: every state that the flushes of a recorded run allow.

The model is the pessimist's reading of POSIX. A write to a file may be lost until that file is flushed, and half of it
may be there. A name that came or went may be lost until its directory is flushed, whatever happened to the file. All
of this may happen to one change and not to its neighbours, in any order (Pillai et al., "All File Systems Are Not
Created Equal", OSDI 2014).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from lamella.core import fsio

SECTOR_NBYTES = 512
MAX_SUBSETS = 5
"""Up to so many changes under way, every subset of them is tried; beyond, all but one and one alone."""


@dataclass(frozen=True, slots=True)
class Name:
    """A change of a directory: `path` becomes a name of the file numbered `inode`, or of nothing where that is None."""

    path: str
    inode: int | None
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A change of a file: bytes at an offset."""

    inode: int
    offset: int
    data: bytes


Effect = Name | Write


@dataclass(slots=True)
class Disk:
    """Files by number, and names of them; a directory is a file whose content is None."""

    files: dict[int, bytes | None] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Disk:
        """Return a disk that changes on its own."""
        return Disk(dict(self.files), dict(self.names))

    def apply(self, effect: Effect) -> None:
        """Make a change."""
        if isinstance(effect, Name):
            if effect.inode is None:
                self.names.pop(effect.path, None)
            else:
                self.names[effect.path] = effect.inode
                self.files.setdefault(effect.inode, None if effect.is_directory else b"")
            return
        content = self.files.get(effect.inode) or b""
        content = content.ljust(effect.offset, b"\0")
        self.files[effect.inode] = content[: effect.offset] + effect.data + content[effect.offset + len(effect.data) :]

    def tree(self) -> frozenset[tuple[str, bytes | None]]:
        """Return every path that can be reached, with its content."""
        return frozenset(
            (path, self.files[inode])
            for path, inode in self.names.items()
            if all(os.fspath(parent) in self.names for parent in list(Path(path).parents)[:-1])
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One announced change: what it did, and what it flushed (a file's number or a directory's path)."""

    operation: str
    effects: tuple[Effect, ...]
    flushed: int | str | None


@dataclass(frozen=True, slots=True)
class Recording:
    """A run: the disk before it, durable to the last bit, and its steps."""

    before: Disk
    steps: tuple[Step, ...]

    def flushes(self) -> list[int]:
        """Return the numbers of the steps that flush something."""
        return [number for number, step in enumerate(self.steps) if step.flushed is not None]

    def without_flush(self, number: int) -> Recording:
        """Return the run of a program that forgot the flush in step `number`."""
        steps = list(self.steps)
        steps[number] = replace(steps[number], flushed=None)
        return Recording(self.before, tuple(steps))


class _Recorder:
    """Compares the directory before and after each change; ignores what SQLite does, whose files are a cache."""

    def __init__(self, root: Path, ignored: str) -> None:
        self._root = root
        self._ignored = ignored
        self._numbers: dict[int, int] = {}
        self._count = 0
        self._last = self._look()
        self.before = self._last.copy()
        self.steps: list[Step] = []
        self._announced: tuple[str, str] | None = None

    def _look(self) -> Disk:
        disk = Disk()
        # A file system gives the number of a removed file to the next one; here the next one gets another.
        numbers: dict[int, int] = {}
        for path in sorted(self._root.rglob("*")):
            relative = os.fspath(path.relative_to(self._root))
            if relative.startswith(self._ignored):
                continue
            inode = path.stat().st_ino
            if inode not in numbers:
                self._count += 1
                numbers[inode] = self._numbers.get(inode, self._count)
            disk.names[relative] = numbers[inode]
            disk.files[numbers[inode]] = None if path.is_dir() else path.read_bytes()
        self._numbers = numbers
        return disk

    def announce(self, operation: str, path: str) -> None:
        self.finish()
        self._announced = (operation, path)

    def finish(self) -> None:
        """Take note of the change announced last, which has been made by now."""
        if self._announced is None:
            return
        (operation, path), self._announced = self._announced, None
        relative = os.path.relpath(path, self._root)
        now = self._look()
        effects = tuple(_names_changed(self._last, now)) + tuple(_writes(self._last, now))
        flushed: int | str | None = None
        if operation == "fsync":
            flushed = now.names[relative]
        elif operation == "fsync-directory":
            flushed = relative
        self.steps.append(Step(operation, effects, flushed))
        self._last = now


def _names_changed(old: Disk, new: Disk) -> Iterator[Name]:
    for path in sorted(old.names.keys() | new.names.keys()):
        if old.names.get(path) != new.names.get(path):
            inode = new.names.get(path)
            yield Name(path, inode, is_directory=inode is not None and new.files[inode] is None)


def _writes(old: Disk, new: Disk) -> Iterator[Write]:
    for inode, content in new.files.items():
        known = old.files.get(inode) or b""
        if content is not None and content != known:
            same = (at for at, (one, other) in enumerate(zip(known, content, strict=False)) if one != other)
            start = next(same, len(known)) if len(content) >= len(known) else 0
            yield Write(inode, start, content[start:])


@contextlib.contextmanager
def recording(root: Path, *, ignored: str) -> Iterator[list[Recording]]:
    """Record what the block changes below `root`, except paths that begin with `ignored`; the list gets one item."""
    recorder = _Recorder(root, ignored)
    found: list[Recording] = []
    with fsio.observe(recorder.announce):
        yield found
    recorder.finish()
    found.append(Recording(recorder.before, tuple(recorder.steps)))


def states(run: Recording) -> Iterator[tuple[int, frozenset[tuple[str, bytes | None]]]]:
    """Yield (number of steps made, tree on disk) for every state in which a power cut may leave the disk, once each."""
    seen = set()
    durable = run.before.copy()
    pending: list[Effect] = []
    for number in range(len(run.steps) + 1):
        for chosen in _survivors(pending):
            disk = durable.copy()
            for effect in chosen:
                disk.apply(effect)
            tree = disk.tree()
            done = number == len(run.steps)
            if (tree, done) not in seen:
                seen.add((tree, done))
                yield number, tree
        if number < len(run.steps):
            step = run.steps[number]
            pending.extend(step.effects)
            for effect in [effect for effect in pending if _is_flushed(effect, step.flushed)]:
                durable.apply(effect)
                pending.remove(effect)


def _is_flushed(effect: Effect, flushed: int | str | None) -> bool:
    if isinstance(effect, Name):
        return (os.path.dirname(effect.path) or ".") == flushed
    return effect.inode == flushed


def _survivors(pending: Sequence[Effect]) -> Iterator[list[Effect]]:
    """Yield the sets of pending changes that may have reached the disk, torn writes among them."""
    count = len(pending)
    sizes = range(count + 1) if count <= MAX_SUBSETS else (0, 1, count - 1, count)
    for size in sizes:
        for chosen in combinations(pending, size):
            yield list(chosen)
            for number, effect in enumerate(chosen):
                if isinstance(effect, Write) and len(effect.data) > SECTOR_NBYTES:
                    half = len(effect.data) // 2 // SECTOR_NBYTES * SECTOR_NBYTES
                    torn = replace(effect, data=effect.data[:half])
                    yield [*chosen[:number], torn, *chosen[number + 1 :]]


def write_tree(tree: frozenset[tuple[str, bytes | None]], root: Path) -> None:
    """Make a tree on disk, below `root`, which must not exist."""
    fsio.make_directory(root)
    for path, content in sorted(tree, key=lambda item: item[0]):
        if content is None:
            fsio.make_directory(root / path)
        else:
            fsio.write_file(root / path, content, durable=False)
