"""`track` and `untrack`: which files Lamella keeps."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import UsageError
from lamella.repo import attributes
from lamella.repo.objects import IndexEntry, tracked
from lamella.repo.repository import Repository
from lamella.repo.worktree import outside_sparse_checkout, put_entries

MODEL_PATTERNS = (
    *("*.safetensors", "*.pt", "*.pth", "*.ckpt", "*.bin", "*.distcp"),
    *("*.gguf", "*.onnx", "*.onnx.data", "*.onnx_data", "*.tflite"),
    *("*.keras", "*.h5", "*.hdf5", "*.data-[0-9]*-of-[0-9]*", "*.msgpack", "*.npy", "*.npz"),
)
"""The names that frameworks give to model files. What such a file holds is found out by its content."""


@dataclass(frozen=True, slots=True)
class TrackReport:
    """The patterns that changed, all patterns in force after that, and the file they stand in.

    `affected` are files that Git knows already and that change hands at the next `add`.
    """

    changed: tuple[str, ...]
    patterns: tuple[str, ...]
    file: str
    affected: tuple[str, ...]


def track(repository: Repository, patterns: Sequence[str]) -> TrackReport:
    """Let Lamella keep the files that match `patterns`, from the next `add` on; without patterns only list them.

    The patterns stand in the `.gitattributes` of the directory where the user is, as Git LFS does it. Raises UsageError
    (bad-argument) for a file that Git would keep itself nevertheless, because other attributes say so.
    """
    report = _change(repository, patterns, attributes.track)
    folder = Path(report.file).parent
    named = {os.path.relpath(folder / one, repository.worktree): one for one in patterns if (folder / one).is_file()}
    refused = named.keys() - set(attributes.filtered(repository.git, named))
    for path in refused & {path for path, pattern in named.items() if pattern in report.changed}:
        attributes.untrack(Path(report.file), named[path])
    if refused:
        raise UsageError(
            f"{min(refused)} is left to git by attributes that hold before a pattern here",
            kind="bad-argument",
            hint="look into .git/info/attributes and the .gitattributes of its folder",
        )
    return report


def untrack(repository: Repository, patterns: Sequence[str]) -> TrackReport:
    """Stop keeping the files that match `patterns`; what is committed stays what it is."""
    return _change(repository, patterns, attributes.untrack)


def _is_kept(repository: Repository, entry: IndexEntry) -> bool:
    """Say whether an entry is a file with content. Where `git add --intent-to-add` put it, it has none yet."""
    empty = hashlib.new(repository.git.hash_name, b"blob 0\0", usedforsecurity=False).hexdigest()
    return stat.S_ISREG(entry.mode) and not entry.stage and entry.oid != empty


def _change(repository: Repository, patterns: Sequence[str], change: Callable[[Path, str], bool]) -> TrackReport:
    inside = repository.git.directory.is_relative_to(repository.worktree)
    file = (repository.git.directory if inside else repository.worktree) / ".gitattributes"
    known = {entry.path: entry for entry in tracked(repository.git) if _is_kept(repository, entry)}
    before = set(attributes.filtered(repository.git, known)) if patterns else set()
    changed = tuple(pattern for pattern in patterns if change(file, pattern))
    if changed and not file.exists() and os.path.relpath(file, repository.worktree) in known:
        # Git would fall back to the file in its index, where the pattern still stands.
        fsio.write_file(file, b"")
    after = set(attributes.filtered(repository.git, known)) if changed else before
    affected = sorted((before ^ after) - outside_sparse_checkout(repository, list(before ^ after)))
    # Git has no reason to look at a file that did not change, unless its entry has no stat data.
    put_entries(repository, (known[path] for path in affected))
    return TrackReport(changed, tuple(attributes.patterns(file)), str(file), tuple(affected))
