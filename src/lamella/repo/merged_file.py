"""The file of a merged model: what was computed waits in a spool, and goes with all else into a container.

A container describes its tensors in ways that only its framework writes, so the file is one of the sides', with other
bytes in the place of its tensors. Where no side has just the tensors of the result, it is written anew, for which the
container has to be one that tensors alone make.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import IO

from blake3 import blake3

from lamella.codec.delta import LAYOUT_OF_DTYPE
from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import ConflictError
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
from lamella.model.merging.engine import MergedTensors
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, MergePlan, Place, PlannedTensor, Stack, Take
from lamella.repo.checkin import check_in
from lamella.repo.checkout import load_skeleton, stored_file
from lamella.repo.manifest import Manifest, Row
from lamella.repo.merged_container import NewFile
from lamella.repo.stored_model_file import StoredModelFile
from lamella.store.objects import ObjectStore
from lamella.store.writer import Source, add_objects


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


def place_of(planned: PlannedTensor, opposed: Collection[str]) -> Place | None:
    """Return whose bytes a tensor of the result has, None where they are computed.

    Of those that turned out to be `opposed`, by name, the first side stands there meanwhile.
    """
    if isinstance(planned.action, Take):
        return planned.action.place
    if planned.name not in opposed:
        return None
    return next(place for place in planned.candidates if place is not None)


def merged_specs(plan: MergePlan, models: Models, opposed: Collection[str]) -> list[TensorSpec]:
    """Return the tensors of the result, in its order, as they will be."""
    places = {one.name: place_of(one, opposed) for one in plan.tensors}
    return [
        one.spec if (place := places[one.name]) is None else replace(models.spec(place), name=one.name)
        for one in plan.tensors
    ]


class MergedFile:
    """The file of a merge: what was computed and what is taken from sides, in a container for just these tensors.

    What is taken is in `store`. `parents` are manifests that new objects may lean on, ours first.
    """

    def __init__(
        self,
        store: ObjectStore,
        target: StoredModelFile | NewFile,
        plan: MergePlan,
        models: Models,
        computed: Computed,
        parents: Sequence[Manifest],
    ) -> None:
        self._store = store
        self._target = target
        self._plan = {one.name: one for one in plan.tensors}
        self._models = models
        self._computed = computed
        self._parents = parents
        self._opposed = self._plan.keys() - computed.offsets.keys()
        self._specs = merged_specs(plan, models, self._opposed)

    def _place(self, planned: PlannedTensor) -> Place | None:
        return place_of(planned, self._opposed)

    def check_in(self, progress: Progress = SILENT) -> Manifest:
        """Store what is new in the file and return its manifest, the objects being durable.

        Raises ConflictError (merge-conflict) where tensors that share bytes would be different ones.
        """
        if isinstance(self._target, StoredModelFile):
            template = self._target.manifest
            if template.seal is None and not template.views:
                return self._replaced(template, progress)
        with fsio.spool(self._store.temporary) as spool:
            if isinstance(self._target, StoredModelFile):
                self._fill(spool, self._target.manifest)
            else:
                self._write(spool, self._anew(self._target))
            file = DescriptorFile(spool.fileno(), spool.seek(0, os.SEEK_END), "the merged file")
            manifest = check_in(self._store, file, self._parents, progress).manifest
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

    def _replaced(self, template: Manifest, progress: Progress) -> Manifest:
        """Return the manifest of a file whose rest says nothing about what its tensors hold."""
        names = [name for name in self._plan if name in self._computed.offsets]
        ids, _ = add_objects(self._store, [self._source(self._plan[name]) for name in names], progress)
        new = dict(zip(names, ids, strict=True))
        rows = tuple(
            row if row.part else Row(row.spec, new.get(row.spec.name) or self._object(self._plan[row.spec.name]))
            for row in template.rows
        )
        return replace(template, rows=rows)

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

    def _fill(self, spool: IO[bytes], template: Manifest) -> None:
        """Write the file of a side with other bytes in its tensors, those that lie apart in it behind the others."""
        file = stored_file(self._store, template, load_skeleton(self._store, template))
        layout = layout_of(template.format, file)
        assert layout is not None
        writer = TemplateWriter(file, layout)
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

    def _anew(self, target: NewFile) -> Pieces:
        specs = target.writer.arranged(self._specs)
        return target.writer.write(specs, self._contents([spec.name for spec in specs]), target.metadata)

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


def _read(file: DescriptorFile, start: int, offset: int, nbytes: int) -> Buffer:
    return file.read_at(start + offset, nbytes)
