"""`merge-driver`: what Git asks for each model file that both sides changed, in files of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import BackendError, LamellaError
from lamella.core.limits import IO_NBYTES, MAX_MANIFEST_NBYTES
from lamella.formats.file import DescriptorFile
from lamella.model.merging.rules import Rules
from lamella.ops.merge_file import Versions, merge_file, usual_rules
from lamella.repo.checkin import check_in
from lamella.repo.git import Git
from lamella.repo.manifest import PREFIX, Manifest, parse_for_git, write_manifest
from lamella.repo.merge_state import FileMerge, write_state
from lamella.repo.repository import Repository
from lamella.repo.vocabularies import vocabularies_of_merge

_MARKER_SIZE = 7
"""How long Git's conflict markers are, where nobody wants them otherwise."""


def drive(
    repository: Repository,
    files: Sequence[Path],
    path: str,
    rules: Rules,
    *,
    commit: str | None = None,
    reporting: bool = False,
) -> FileMerge:
    """Merge the versions of `path` that lie in three files, of base, ours and theirs, and write the second anew.

    `commit` is the one that is merged into HEAD, where that is what Git does. An empty file is no version. Where
    nothing comes of it, ours is left as it is. What was found is kept for resolving, with `reporting` also where there
    is nothing to resolve. Raises LamellaErrors of any class, and has then left ours.
    """
    blobs = [_blob(file, repository.git.hash_name) for file in files]
    state = FileMerge(path, (blobs[0], blobs[1], blobs[2]), rules)
    try:
        base, ours, theirs = (_version(repository, file, path) for file in files)
        if ours is None or theirs is None:
            found, merged = replace(state, failure="one side is empty, so only a whole file can be taken"), None
        else:
            tell = partial(vocabularies_of_merge, repository.git, commit, path, state.blobs) if commit else dict
            found, merged = merge_file(repository, Versions(path, state.blobs, base, ours, theirs, tell), rules)
    except BackendError:
        raise  # that is of this moment: whoever asks later finds out anew
    except LamellaError as error:
        with contextlib.suppress(LamellaError):
            write_state(repository.git, replace(state, failure=error.message))
        raise
    text = None
    if merged is not None:
        text = write_manifest(merged)
        header = b"blob %d\0" % len(text)
        found = replace(found, merged=hashlib.new(repository.git.hash_name, header + text).hexdigest())
    if reporting or found.conflicts or found.failure:
        write_state(repository.git, found)
    if text is not None:
        fsio.write_file(files[1].absolute(), text, durable=False)
    return found


def is_between_bases(git: Git, path: str, marker_size: str) -> bool:
    """Say whether Git merges what the sides come from, where that is several versions, and not the sides themselves.

    It tells by longer conflict markers, two for each time that bases of bases are merged (`merge-ort.c`, Git 2.34).
    """
    if not marker_size.isdecimal() or int(marker_size) <= _MARKER_SIZE:
        return False
    said = git.run("check-attr", "-z", "conflict-marker-size", "--", path).split(b"\0")[2]
    return int(marker_size) > int(said if said.isdigit() else _MARKER_SIZE)


def make_base(repository: Repository, files: Sequence[Path], path: str) -> str | None:
    """Merge two versions that the sides of a merge come from, by the project's rules, and write the second file anew.

    Where the sides merged them before, as they would be here, that is what they have in common. Where the two disagree,
    the file is empty, so that all that differs between the sides is in conflict, and the reason is returned.
    """
    text, reason = b"", "one of them is empty"
    try:
        base, ours, theirs = (_version(repository, file, path) for file in files)
        if ours is not None and theirs is not None:
            rules = usual_rules(repository.git.worktree, merging=True)
            found, merged = merge_file(repository, Versions(path, (None, None, None), base, ours, theirs), rules)
            reason = found.failure or f"conflicts: {len(found.conflicts)}"
            if merged is not None and not found.conflicts:
                text, reason = write_manifest(merged), ""
    except BackendError:
        raise
    except LamellaError as error:
        reason = error.message
    fsio.write_file(files[1].absolute(), text, durable=False)
    return reason or None


def _blob(file: Path, hash_name: str) -> str | None:
    """Return the id that the content of a file has in Git, None for an empty one."""
    with fsio.translated(file, reading=True), file.open("rb") as opened:
        nbytes = os.fstat(opened.fileno()).st_size
        hasher = hashlib.new(hash_name, b"blob %d\0" % nbytes, usedforsecurity=False)
        while piece := opened.read(IO_NBYTES):
            hasher.update(piece)
    return hasher.hexdigest() if nbytes else None


def _version(repository: Repository, file: Path, path: str) -> Manifest | None:
    """Return the manifest in a file; the file itself, from before its pattern was tracked, is stored for it."""
    with fsio.translated(file, reading=True), file.open("rb") as opened:
        nbytes = os.fstat(opened.fileno()).st_size
        if not nbytes:
            return None
        content = DescriptorFile(opened.fileno(), nbytes, path)
        if nbytes > MAX_MANIFEST_NBYTES or bytes(content.read_at(0, min(nbytes, len(PREFIX)))) != PREFIX:
            return check_in(repository.store, content, ()).manifest
        return parse_for_git(path, bytes(content.read_at(0, nbytes)))
