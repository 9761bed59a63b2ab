"""From a manifest back to the file: its bytes in order, decoded over the threads and verified tensor by tensor."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, FormatError, IntegrityError, UsageError
from lamella.core.limits import IO_NBYTES, MAX_SKELETON_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.formats.base import TensorSpan, TensorView
from lamella.formats.hollow import HollowFile, agrees, layout_of
from lamella.formats.skeleton import Skeleton
from lamella.repo.manifest import OPAQUE, Manifest
from lamella.repo.object_file import ObjectFile
from lamella.store.objects import ObjectStore
from lamella.store.reader import Piece, stream_objects

_MOST_OPEN_ROWS = 8
"""Objects that are kept open while a file is read here and there, some MiB each."""


def file_pieces(store: ObjectStore, manifest: Manifest) -> Iterator[Buffer]:
    """Yield the file that `manifest` stands for, piece by piece in file order.

    Raises ConflictError (manifest-mixed) before the first piece where that file would not be one. Raises NotFoundError
    where an object is missing and IntegrityError where one is damaged; what was yielded until then must not be used.
    """
    stream = stream_objects(store, (row.object for row in manifest.rows))
    piece: Piece | None = next(stream, None)
    for _, part in load_skeleton(store, manifest).pieces(_tensor_nbytes(manifest)):
        if not isinstance(part, int):
            yield part
            continue
        remaining = manifest.rows[part].spec.nbytes
        while piece is not None and piece.number == part:
            remaining -= len(piece.data)
            yield piece.data
            piece = next(stream, None)
        if remaining:
            name = manifest.rows[part].spec.name
            raise IntegrityError(
                f"tensor {name!r} and its object differ in length",
                kind="object-damaged",
                hint="the manifest was altered; take it from another revision",
            )


def _tensor_nbytes(manifest: Manifest) -> list[int]:
    return [row.spec.nbytes for row in manifest.rows]


def load_skeleton(store: ObjectStore, manifest: Manifest) -> Skeleton:
    """Return the skeleton of a model file.

    Raises ConflictError (manifest-mixed) where the header in it lists other tensors than the manifest, as after a merge
    that took the one from this side and the others from that: the file would be one that nobody can load.
    """
    skeleton = _read_skeleton(store, manifest)
    if manifest.seal is not None and manifest != manifest.sealed():
        raise ConflictError(
            "the manifest has tensors of two versions, and its file has checksums of one",
            kind="manifest-mixed",
            hint="git cannot merge such a file; take one side with `git checkout REV -- PATH`",
        )
    if not _is_whole(store, manifest, skeleton):
        raise _mixed()
    return skeleton


def _is_whole(store: ObjectStore, manifest: Manifest, skeleton: Skeleton) -> bool:
    if manifest.seal is not None:
        return True  # all of it is of one version, in which a reader has found just that
    if manifest.format == OPAQUE:
        return skeleton == Skeleton.plain(len(manifest.rows))
    try:
        file = stored_file(store, manifest, skeleton, only_parts=True)
    except FormatError:
        return False
    rows = zip(manifest.rows, file.tensor_offsets, strict=True)
    spans = [TensorSpan(row.spec, offset, row.part) for row, offset in rows]
    return agrees(manifest.format, file, spans, [row.spec for row in manifest.views])


def stored_file(store: ObjectStore, manifest: Manifest, skeleton: Skeleton, *, only_parts: bool = False) -> HollowFile:
    """Return the file that `manifest` stands for, read where it is asked for, or `only_parts` beside its skeleton.

    Raises FormatError (skeleton-malformed) where skeleton and manifest do not have one number of tensors.
    """
    rows = manifest.rows
    opened = functools.lru_cache(_MOST_OPEN_ROWS)(lambda number: ObjectFile(store.open(rows[number].object)))

    def read_row(number: int, start: int, stop: int) -> Buffer:
        return opened(number).read_at(start, stop - start)

    return HollowFile(skeleton, _tensor_nbytes(manifest), read_row, lambda number: rows[number].part or not only_parts)


def stored_views(store: ObjectStore, manifest: Manifest) -> tuple[HollowFile, dict[str, TensorView]]:
    """Return the file that `manifest` stands for, and where its tensors without bytes of their own are gathered from.

    Raises ConflictError (manifest-mixed) as `load_skeleton` does, also where this version cannot read the format.
    """
    file = stored_file(store, manifest, load_skeleton(store, manifest))
    layout = layout_of(manifest.format, file)
    views = {view.spec.name: view for view in layout.views} if layout else {}
    if not all(row.spec.name in views for row in manifest.views):
        raise _mixed()
    return file, views


def _mixed() -> ConflictError:
    return ConflictError(
        "the manifest lists other tensors than the header of its file",
        kind="manifest-mixed",
        hint="the merge mixed two structures; take one side with `git checkout REV -- PATH`",
    )


def _read_skeleton(store: ObjectStore, manifest: Manifest) -> Skeleton:
    """Return the skeleton; the length of a stored one is checked before it is read."""
    if manifest.skeleton is None:
        return Skeleton.plain(len(manifest.rows))
    chain = store.open(manifest.skeleton)
    if chain.head.nbytes > MAX_SKELETON_NBYTES:
        raise FormatError("skeleton is too large", kind="skeleton-too-large", hint="the manifest was altered")
    return Skeleton.parse(chain.read())


def file_nbytes(store: ObjectStore, manifest: Manifest) -> int:
    """Return the length of the file that `manifest` stands for."""
    return load_skeleton(store, manifest).file_nbytes(_tensor_nbytes(manifest))


def split_path(path: str) -> tuple[tuple[str, ...], str]:
    """Return the directories and the name of a worktree path as Git writes it.

    Raises UsageError (path-unsafe) for a path that is absolute, climbs, or enters `.git`.
    """
    parts = PurePosixPath(path).parts
    unsafe = not parts or path.startswith("/") or "\0" in path
    if unsafe or any(part == ".." or part.lower() == ".git" for part in parts):
        raise UsageError(f"path {path!r} leaves the worktree", kind="path-unsafe", hint="nothing was written")
    return parts[:-1], parts[-1]


def _gathered(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """Yield the same bytes with small pieces put together: a file may have a hundred thousand of them."""
    small = bytearray()
    for piece in pieces:
        if len(small) + len(piece) <= IO_NBYTES:
            small += piece
            continue
        if small:
            yield small
            small = bytearray()
        yield piece
    if small:
        yield small


def restore_file(
    store: ObjectStore,
    manifest: Manifest,
    worktree: Path,
    path: str,
    *,
    executable: bool = False,
    backdated: bool = False,
    replacing: os.stat_result | None = None,
    progress: Progress = SILENT,
) -> os.stat_result:
    """Write the file that `manifest` stands for to `path` in `worktree`, wholly or not at all, and return its stat.

    No symbolic link is followed below `worktree`. With `backdated`, the modification time is set into the previous
    second, so that Git, which compares whole seconds, does not take the file for one that may have changed since it
    was indexed: for a caller that records the stat in the index, since any other file of this length could be taken
    for the one that is recorded there. The file is not flushed to stable storage, as Git's own are not: its bytes are
    in the store.

    With `replacing`, only the file that this describes is replaced: ConflictError (file-changed) where it is no longer
    there.
    """
    directories, name = split_path(path)
    directory_fd = fsio.open_directory_beneath(worktree, directories, create=True)
    try:
        where = worktree.joinpath(*directories)
        mode = 0o777 if executable else 0o666
        with fsio.Temporary(where, directory_fd, mode) as temporary:
            offset = 0
            for piece in _gathered(file_pieces(store, manifest)):
                temporary.write_at(piece, offset)
                offset += len(piece)
                progress.advance(len(piece))
            if backdated:
                temporary.set_modified(int(time.time()) - 1)
            temporary.publish(name, durable=False, replacing=replacing)
            with fsio.translated(where / name):
                return os.fstat(temporary.fd)
    finally:
        os.close(directory_fd)
