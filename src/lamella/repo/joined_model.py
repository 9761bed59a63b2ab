"""One model in one file or several: which tensors it has, what they are called, and where each of them is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError, NotFoundError
from lamella.core.ids import ObjectId, digest
from lamella.core.tensors import TensorSpec
from lamella.repo.located import LocatedTensors
from lamella.repo.manifest import Manifest, Row
from lamella.repo.model_file import ModelFile, TensorHolder

SEVERAL = "several-files"
"""The format, so to speak, of a model that is more than one file."""


@dataclass(frozen=True)
class Model:
    """One model, called `path`: its files, and `others`, the rest of the folder that it is.

    `unread` are folders within it, each with a slash, whose model files are no part of it. `missing` are files that it
    names and that are not there, or its header, which names them: their tensors are not among its own.

    `names` are its tensors: where each is and what it is called there. A name that two files have for different tensors
    gets the file's path before it.
    """

    path: str
    files: tuple[ModelFile, ...]
    others: tuple[str, ...]
    names: Mapping[str, tuple[TensorHolder, str]]
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def spec(self, name: str) -> TensorSpec:
        """Return a tensor's spec under the name that it has in this model; raise NotFoundError (tensor-unknown)."""
        file, inner = self.find(name)
        return replace(file.specs[inner], name=name)

    def find(self, name: str) -> tuple[TensorHolder, str]:
        """Return where a tensor is and its name there; raise NotFoundError (tensor-unknown)."""
        try:
            return self.names[name]
        except KeyError:
            self.check_whole()
            raise NotFoundError(
                f"{self.path} has no tensor {name!r}", kind="tensor-unknown", hint="`lamella ls` lists the tensors"
            ) from None

    def check_whole(self) -> None:
        """Raise NotFoundError (path-unknown) where a file that belongs to the model is missing."""
        if self.missing:
            raise NotFoundError(
                f"{self.path} takes {self.missing[0][:80]!r}, which is not there, or not as it says",
                kind="path-unknown",
                hint="put it beside the model under this name, or add it as the model was added",
            )

    @property
    def holders(self) -> Sequence[TensorHolder]:
        """Where its tensors are, each once: files, and what puts tensors of several files together."""
        return [holder for holder, _ in self._held()]

    def _held(self) -> Iterable[tuple[TensorHolder, list[str]]]:
        """Return these with the names that their tensors have there."""
        found: dict[int, tuple[TensorHolder, list[str]]] = {}
        for holder, inner in self.names.values():
            found.setdefault(id(holder), (holder, []))[1].append(inner)
        return found.values()

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named, in that order, its bytes in pieces of some MiB at most.

        Each is gone through to its end before the next is asked for. Raises IntegrityError at the end of a tensor that
        is not what was stored.
        """
        found = [self.find(name) for name in names]
        for _, run in itertools.groupby(found, key=lambda one: id(one[0])):
            pairs = list(run)
            yield from pairs[0][0].stream([inner for _, inner in pairs])

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """What would stand in a manifest for each tensor, by the name that it has here; what is on disk is hashed."""
        ids: dict[tuple[int, str], ObjectId] = {}
        for holder, inners in self._held():
            ids |= {(id(holder), inner): one for inner, one in zip(inners, holder.object_ids(inners), strict=True)}
        return {name: Row(self.spec(name), ids[id(holder), inner]) for name, (holder, inner) in self.names.items()}

    def manifest(self) -> Manifest:
        """Return the manifest of the one file, or one that tells this model from others and stands for no file."""
        if len(self.files) == 1 and len(self.names) == len(self.files[0].specs):
            return self.files[0].manifest
        parts = "".join(f"{file.path}\0{file.manifest.format}\0{file.manifest.skeleton!r}\n" for file in self.files)
        return Manifest(SEVERAL, digest(os.fsencode(parts)), tuple(self.rows.values()))

    def model_id(self) -> str:
        """Return the id that the same weights have in any container, in one file or in many."""
        if len(self.files) > 1 and self.names:
            return Manifest(SEVERAL, None, tuple(self.rows.values())).model_id()
        return self.manifest().model_id()

    def close(self) -> None:
        """Close the files on disk."""
        for file in self.files:
            file.close()


def joined(
    path: str, files: Sequence[ModelFile], others: Sequence[str], holders: Sequence[TensorHolder] | None = None
) -> Model:
    """Return files as one model, of which `holders` have the tensors, by default the files themselves.

    Raises FormatError (name-duplicate) where the tensors cannot all be named.
    """
    names = _named(files if holders is None else holders)
    found = {name: one.find(inner) if isinstance(one, LocatedTensors) else (one, inner) for name, (one, inner) in names}
    return Model(path, tuple(files), tuple(others), found)


def _named(holders: Sequence[TensorHolder]) -> Iterable[tuple[str, tuple[TensorHolder, str]]]:
    having: dict[str, list[TensorHolder]] = {}
    for holder in holders:
        for name in holder.specs:
            having.setdefault(name, []).append(holder)
    names: dict[str, tuple[TensorHolder, str]] = {}
    for name, owners in having.items():
        told = {name: owners[0]} if _alike(name, owners) else {f"{one.path}/{name}": one for one in owners}
        for full, holder in told.items():
            if full in names or (full != name and full in having):
                raise FormatError(f"two files have a tensor {full[:80]!r}", kind="name-duplicate")
            names[full] = (holder, name)
    return names.items()


def _alike(name: str, owners: Sequence[TensorHolder]) -> bool:
    first, *rest = owners
    return all(first.specs[name] == other.specs[name] for other in rest) and all(
        first.object_ids([name]) == other.object_ids([name]) for other in rest
    )
