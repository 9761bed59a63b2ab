"""From a file to a manifest: its layout is read, its tensors become objects, and text for Git is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from blake3 import blake3

from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.formats.arrange import strided
from lamella.formats.base import Beside, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.file import BytesFile
from lamella.formats.skeleton import build_skeleton
from lamella.formats.sniff import is_described, read_layout
from lamella.formats.strided import read_view
from lamella.repo.manifest import OPAQUE, Manifest, Row
from lamella.repo.relatives import family_of, needs_family
from lamella.repo.sketches import EAGER_NBYTES, keep_sketches
from lamella.store.objects import ObjectStore
from lamella.store.writer import Added, Source, add_objects, identify


@dataclass(frozen=True, slots=True)
class CheckedIn:
    """A file's manifest, what storing it added, and why it is opaque although it claims a format.

    `foreign` are names of code that the file would have its framework run.
    """

    manifest: Manifest
    added: Added
    warning: FormatError | None
    foreign: tuple[str, ...]


def check_in(
    store: ObjectStore,
    file: RandomAccess,
    parents: Sequence[Manifest],
    progress: Progress = SILENT,
    others: Callable[[], Iterable[Manifest]] = tuple,
    beside: Beside | None = None,
) -> CheckedIn:
    """Store every tensor of `file` that is not stored yet and return its manifest.

    Tensors lean on the tensors of the same name and dtype in `parents`, the first one first, where that saves. Where
    `parents` have not all of them, or derived ones, tensors may also be made of those in `others`, which is called
    only then, and from which no more is taken than is looked at. When this returns, the objects are durable. Raises
    ConflictError (file-changed) where the file changes meanwhile.
    """
    layout, warning = read_layout(file, beside)
    sources = _sources(file, layout, parents)
    if layout.format != OPAQUE and needs_family(store, layout.tensors, parents):
        family = family_of(layout.tensors, parents, others())
        first = len(sources) - len(layout.tensors)
        sources[first:] = [
            replace(source, spec=span.spec, family=family)
            for source, span in zip(sources[first:], layout.tensors, strict=True)
        ]
    ids, added = add_objects(store, [*sources, *_view_sources(file, layout)], progress)
    manifest = _manifest(file, layout, ids[: len(sources)])
    if added.nbytes >= EAGER_NBYTES and layout.format != OPAQUE:
        objects = (row.object for row in manifest.rows)
        keep_sketches(store.directory, file, zip(layout.tensors, objects, strict=True))
    return CheckedIn(manifest, added, warning, layout.foreign)


def identify_file(
    file: RandomAccess, threads: int, progress: Progress = SILENT, beside: Beside | None = None
) -> Manifest:
    """Return the manifest of `file` without storing anything."""
    layout, _ = read_layout(file, beside)
    return _manifest(file, layout, identify(_sources(file, layout, ()), threads, progress))


def file_sources(file: RandomAccess, beside: Beside | None = None) -> list[Source]:
    """Return the objects that `file` consists of, ready to be stored alone."""
    layout, _ = read_layout(file, beside)
    return _sources(file, layout, ())


def _is_plain(layout: Layout) -> bool:
    """Say whether a file is nothing but its tensors, one behind the other."""
    return sum(span.spec.nbytes for span in layout.tensors) == layout.nbytes


def _sources(file: RandomAccess, layout: Layout, parents: Sequence[Manifest]) -> list[Source]:
    by_name = [{(row.spec.name, row.part): row for row in parent.rows} for parent in parents if parent.format != OPAQUE]
    sources = []
    if not _is_plain(layout):
        skeleton = BytesFile(build_skeleton(file, layout))
        earlier = tuple(dict.fromkeys(parent.skeleton for parent in parents if parent.skeleton is not None))
        sources.append(Source(skeleton.nbytes, 1, skeleton.read_at, earlier))
    sources.extend(_tensor_source(file, span, by_name) for span in layout.tensors)
    return sources


def _tensor_source(file: RandomAccess, span: TensorSpan, by_name: list[dict[tuple[str, bool], Row]]) -> Source:
    rows = [rows[span.spec.name, span.part] for rows in by_name if (span.spec.name, span.part) in rows]
    candidates = dict.fromkeys(row.object for row in rows if row.spec.dtype == span.spec.dtype)
    dtype = span.spec.dtype
    read = partial(_read, file, span.offset)
    return Source(span.spec.nbytes, dtype.item_nbytes, read, tuple(candidates), LAYOUT_OF_DTYPE.get(dtype.name))


def _view_sources(file: RandomAccess, layout: Layout) -> list[Source]:
    """Return the views that are stored: those of a file that nobody finds again without what lies beside it."""
    if not is_described(layout.format):
        return []
    return [
        Source(view.spec.nbytes, view.spec.dtype.item_nbytes, partial(_read_part, file, view)) for view in layout.views
    ]


def _read_part(file: RandomAccess, view: TensorView, offset: int, nbytes: int) -> Buffer:
    return b"".join(read_view(file, view, offset, offset + nbytes))


def _read(file: RandomAccess, start: int, offset: int, nbytes: int) -> Buffer:
    return file.read_at(start + offset, nbytes)


def _manifest(file: RandomAccess, layout: Layout, ids: Sequence[ObjectId]) -> Manifest:
    skeleton = None if _is_plain(layout) else ids[0]
    objects = ids if skeleton is None else ids[1:]
    marked = layout.format != OPAQUE  # of an opaque file every row is a part, and none says so
    spans = zip(layout.tensors, objects, strict=True)
    rows = tuple(Row(span.spec, identity, marked and span.part) for span, identity in spans)
    whole = {(span.offset, span.spec.nbytes): row.object for span, row in zip(layout.tensors, rows, strict=True)}
    views = tuple(Row(view.spec, _tied(view, whole) or _hash_view(file, view)) for view in layout.views)
    manifest = Manifest(layout.format, skeleton, rows, views)
    return manifest.sealed() if layout.sealed else manifest


def _tied(view: TensorView, whole: Mapping[tuple[int, int], ObjectId]) -> ObjectId | None:
    """Return the object of the span that holds just what a view does, if there is one."""
    if len(view.boxes) != 1:
        return None
    found = strided(view.spec, view.boxes[0].offset, view.boxes[0].strides, swapped=view.swapped)
    return whole.get((found.offset, view.spec.nbytes)) if isinstance(found, TensorSpan) else None


def _hash_view(file: RandomAccess, view: TensorView) -> ObjectId:
    hasher = blake3()
    for piece in read_view(file, view):
        hasher.update(piece)
    return ObjectId(hasher.digest())
