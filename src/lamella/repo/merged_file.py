"""The file of a merged model: what was computed waits in a spool, and a container is found for it and all else.

A container describes its tensors in ways that only its framework writes, so the file is one of the sides', with other
bytes in the place of its tensors. Where no side has just the tensors of the result, it is written anew, for which the
container has to be one that tensors alone make.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import IO

from blake3 import blake3

from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError, UsageError
from lamella.core.fsio import translated
from lamella.core.ids import ObjectId
from lamella.core.limits import IO_NBYTES
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.file import DescriptorFile
from lamella.formats.hollow import layout_of
from lamella.formats.scatter import write_view
from lamella.formats.write_into import TemplateWriter
from lamella.formats.writer import Pieces
from lamella.formats.writers import WRITERS
from lamella.model.merging.engine import MergedTensors
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, MergePlan, Place, PlannedTensor, Stack, Take
from lamella.repo.checkin import check_in
from lamella.repo.checkout import load_skeleton, stored_file
from lamella.repo.manifest import Manifest, Row
from lamella.repo.merged_rest import choose_container
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, add_objects

_ANEW = ("safetensors", "npz", "npy")
"""Containers of nothing but tensors and metadata, which are written anew without loss."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Where in a spool the bytes of the tensors are that were computed; those in conflict are not among them."""

    file: DescriptorFile
    offsets: Mapping[str, int]


def compute(plan: MergePlan, merged: MergedTensors, spool: IO[bytes]) -> Computed:
    """Write all tensors of a plan that have to be computed to `spool`, one after the other."""
    names = [one.name for one in plan.tensors if isinstance(one.action, Compute | Stack)]
    offsets: dict[str, int] = {}
    at = 0
    for name, pieces in zip(names, merged.stream(names), strict=True):
        start = at
        for piece in pieces:
            with translated(spool.name, reading=False):
                at += spool.write(piece)
        if merged.outcomes[name].conflict is None:
            offsets[name] = start
    with translated(spool.name, reading=False):
        spool.flush()
    return Computed(DescriptorFile(spool.fileno(), at, "the merged tensors"), offsets)


class MergedFile:
    """The file of a merge of files that are in one store, `base` and `sides`, some of which may not have it."""

    def __init__(
        self,
        store: ObjectStore,
        base: StoredModelFile | None,
        sides: Sequence[StoredModelFile | None],
        plan: MergePlan,
        models: Models,
        computed: Computed,
    ) -> None:
        self._store = store
        self._files = [file for file in (*sides, base) if file is not None]
        self._plan = {one.name: one for one in plan.tensors}
        self._models = models
        self._computed = computed
        self._specs = {name: self._spec(one) for name, one in self._plan.items()}
        self._container = choose_container(store, base, sides, self._specs.values())
        self.warnings = self._container.warnings

    def _spec(self, planned: PlannedTensor) -> TensorSpec:
        """Return a tensor as it will be; one in conflict is as it is on the side that stands there meanwhile."""
        place = self._place(planned)
        return planned.spec if place is None else replace(self._models.spec(place), name=planned.name)

    def _place(self, planned: PlannedTensor) -> Place | None:
        """Return whose bytes a tensor has, None where they were computed."""
        if isinstance(planned.action, Take):
            return planned.action.place
        if planned.name in self._computed.offsets:
            return None
        return next(place for place in planned.candidates if place is not None)

    def check_in(self, progress: Progress = SILENT) -> Manifest:
        """Store what is new in the file and return its manifest, the objects being durable.

        Raises ConflictError (merge-conflict) where no file can hold the result.
        """
        template = self._container.template
        if template is not None and template.manifest.seal is None and not template.manifest.views:
            return self._replaced(template, progress)
        with fsio.spool(self._store.temporary) as spool:
            if template is None:
                self._write(spool, self._anew())
            else:
                self._fill(spool, template)
            file = DescriptorFile(spool.fileno(), spool.seek(0, os.SEEK_END), "the merged file")
            manifest = check_in(self._store, file, [one.manifest for one in self._files], progress).manifest
        if manifest.views:
            self._ensure_as_planned(manifest)
        return manifest

    def _write(self, spool: IO[bytes], pieces: Pieces) -> None:
        with translated(self._store.temporary):
            spool.truncate(0)
        for offset, piece in pieces:
            with translated(self._store.temporary):
                spool.seek(offset)
                spool.write(piece)
        with translated(self._store.temporary):
            spool.flush()

    def _replaced(self, template: StoredModelFile, progress: Progress) -> Manifest:
        """Return the manifest of a file whose rest says nothing about what its tensors hold."""
        names = [name for name in self._plan if name in self._computed.offsets]
        ids, _ = add_objects(self._store, [self._source(self._plan[name]) for name in names], progress)
        new = dict(zip(names, ids, strict=True))
        rows = tuple(
            row if row.part else Row(row.spec, new.get(row.spec.name) or self._object(self._plan[row.spec.name]))
            for row in template.manifest.rows
        )
        return replace(template.manifest, rows=rows)

    def _object(self, planned: PlannedTensor) -> ObjectId:
        place = self._place(planned)
        assert place is not None
        return ObjectId(self._models.digest(place))

    def _source(self, planned: PlannedTensor) -> Source:
        """Return a computed tensor, which leans on those that it was made of."""
        places = [place for place in planned.candidates if place is not None]
        spec = planned.spec
        likely = [place for place in places if self._models.spec(place).dtype == spec.dtype]
        candidates = tuple(dict.fromkeys(ObjectId(self._models.digest(place)) for place in likely))
        read = partial(_read, self._computed.file, self._computed.offsets[planned.name])
        return Source(spec.nbytes, spec.dtype.item_nbytes, read, candidates, LAYOUT_OF_DTYPE.get(spec.dtype.name))

    def _fill(self, spool: IO[bytes], template: StoredModelFile) -> None:
        """Write the file of a side with other bytes in its tensors, those that lie apart in it behind the others."""
        manifest = template.manifest
        file = stored_file(self._store, manifest, load_skeleton(self._store, manifest))
        layout = layout_of(manifest.format, file)
        if layout is None:
            raise _unwritable(manifest.format)
        try:
            writer = TemplateWriter(file, layout)
        except UsageError as error:
            raise _unwritable(manifest.format) from error
        own = [span.spec for span in layout.tensors if not span.part]
        specs = writer.arranged(own)
        self._write(spool, writer.write(specs, self._contents([spec.name for spec in specs]), {}))
        if not layout.views:
            return
        made = DescriptorFile(spool.fileno(), file.nbytes, "the merged file")
        contents = self._contents([view.spec.name for view in layout.views])
        for view, pieces in zip(layout.views, contents, strict=True):
            write_view(made, partial(self._put, spool), view, pieces)
        for offset, checksum in writer.checksums(made):
            self._put(spool, checksum, offset)

    def _put(self, spool: IO[bytes], data: Buffer, offset: int) -> None:
        with translated(self._store.temporary):
            spool.seek(offset)
            spool.write(data)
            spool.flush()

    def _ensure_as_planned(self, manifest: Manifest) -> None:
        """Raise ConflictError (merge-conflict) where tensors that share bytes were to get different ones."""
        for row in manifest.tensors:
            planned = self._plan[row.spec.name]
            if planned.name in self._computed.offsets:
                hasher = blake3()
                for piece in self._spooled(planned):
                    hasher.update(piece)
                wanted = ObjectId(hasher.digest())
            else:
                wanted = self._object(planned)
            if row.object != wanted:
                raise ConflictError(
                    f"{planned.name} shares its bytes with another tensor, and the two were merged to different ones",
                    kind="merge-conflict",
                    hint="merge both with the same strategy, element by element, or take one side's file",
                )

    def _anew(self) -> Pieces:
        formats = {file.format for file in self._files}
        writer = next((one for one in WRITERS if formats <= set(one.formats) and one.name in _ANEW), None)
        metadata = self._container.metadata
        if writer is None or metadata is None:
            which = f"files of {' and '.join(sorted(formats))}{' that say more than that' if writer else ''}"
            raise ConflictError(
                f"no side has just these tensors, and {which} are not written anew",
                kind="merge-conflict",
                hint="take one side with `git checkout --ours PATH` or `--theirs`, or merge exports as safetensors",
            )
        specs = writer.arranged(list(self._specs.values()))
        return writer.write(specs, self._contents([spec.name for spec in specs]), metadata)

    def _contents(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        planned = [self._plan[name] for name in names]
        for side, run in groupby(planned, key=lambda one: None if (p := self._place(one)) is None else p.side):
            members = list(run)
            if side is None:
                yield from map(self._spooled, members)
                continue
            places = [self._place(one) for one in members]
            yield from self._models.stream(side, [place.name for place in places if place is not None])

    def _spooled(self, planned: PlannedTensor) -> Iterator[Buffer]:
        start = self._computed.offsets[planned.name]
        for at in range(start, start + planned.spec.nbytes, IO_NBYTES):
            yield self._computed.file.read_at(at, min(IO_NBYTES, start + planned.spec.nbytes - at))


def _unwritable(container: str) -> ConflictError:
    return ConflictError(
        f"other weights cannot be written into files of {container}",
        kind="merge-conflict",
        hint="take one side with `git checkout --ours PATH` or `--theirs`, or merge exports as safetensors",
    )


def _read(file: DescriptorFile, start: int, offset: int, nbytes: int) -> Buffer:
    return file.read_at(start + offset, nbytes)
