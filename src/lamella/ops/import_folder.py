"""`import` of a folder: a series of checkpoints becomes a commit each, anything else one commit."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import UsageError
from lamella.ops.import_versions import Version

_NUMBERED = re.compile(r"(.*?)[-_.]?([0-9]+)")
_NUMBERED_FILE = re.compile(r"(.*?)[-_.]?([0-9]+)((?:\.[^.0-9][^.]*)+)")
_SHARD = re.compile(r"-of-[0-9]+")

_DESCRIBING = frozenset({".metadata", ".zarray", ".zattrs", ".zgroup"})
"""Files that begin with a dot and belong to a model: checkpoints of torch.distributed and Zarr are nothing without."""


def folder_versions(source: Path) -> list[Version]:
    """Return the versions in a folder, oldest first.

    Sub-folders that have one name and a number (`checkpoint-500`, `checkpoint-1000`) are versions in the order of the
    numbers, and files beside them the last one. Files that have one name and a number (`epoch-1.pt`, `epoch-2.pt`) are
    versions of one file. Any other folder is one version. Links are passed over, and so is what begins with a dot, save
    what describes other files.
    """
    with fsio.translated(source, reading=True):
        names = sorted(os.listdir(source), key=natural)
    shown = [name for name in names if not _is_hidden(name)]
    folders = [name for name in shown if _is_folder(source / name)]
    files = [name for name in shown if _is_file(source / name)]
    if _one_stem(_NUMBERED, folders):
        versions = [_version(source / name, name, tuple(files_below(source / name))) for name in folders]
        versions += [_version(source, source.resolve().name, tuple(files))] if files else []
    elif not folders and len(files) > 1 and not _DESCRIBING & set(files) and _one_stem(_NUMBERED_FILE, files):
        versions = [_numbered_file(source, name) for name in files]
    else:
        versions = [_version(source, source.resolve().name, tuple(files_below(source)))]
    versions = [version for version in versions if version.files]
    if not versions:
        raise UsageError(f"{source} holds no files", kind="bad-argument", hint="name a folder with model files")
    return versions


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(part), len(part), "") if part.isdecimal() and part.isascii() else (-1, 0, part) for part in parts)


def _one_stem(pattern: re.Pattern[str], names: Sequence[str]) -> bool:
    """Say whether names differ only in a number; the shards of one model do not count."""
    stems = set()
    for name in names:
        match = pattern.fullmatch(name)
        if match is None or _SHARD.search(name):
            return False
        stems.add((match[1], *match.groups()[2:]))
    return len(stems) == 1


def _numbered_file(source: Path, name: str) -> Version:
    match = _NUMBERED_FILE.fullmatch(name)
    stem = name if match is None else (match[1] or "model") + match[3]
    seconds = int((source / name).stat().st_mtime)
    return Version(name, seconds, source, (name,), renamed={name: stem})


def _version(root: Path, message: str, files: tuple[str, ...]) -> Version:
    seconds = max((int((root / file).stat().st_mtime) for file in files), default=0)
    return Version(message, seconds, root, files)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and name not in _DESCRIBING


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def files_below(root: Path, within: str = "") -> Iterator[str]:
    """Yield the files of a folder, by their path from `root`."""
    with fsio.translated(root / within, reading=True):
        names = sorted(os.listdir(root / within), key=natural)
    for name in names:
        path = f"{within}{name}"
        if _is_hidden(name):
            continue
        if _is_folder(root / path):
            yield from files_below(root, f"{path}/")
        elif _is_file(root / path):
            yield path
