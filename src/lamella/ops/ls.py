"""`ls`: the tensors of a model, with their sizes, and what its files say beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

from lamella.core.errors import NotFoundError
from lamella.core.tensors import TensorSpec
from lamella.repo.joined_model import Model


@dataclass(frozen=True, slots=True)
class ListedTensor:
    """One tensor; `file` is where it is."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    nbytes: int
    file: str


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of the model. `metadata` is what it says beside its tensors, None where that is not at hand."""

    path: str
    format: str
    tensors: int
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class LsReport:
    """A model: its files, the other files of the folder that it is, and the tensors that were asked for.

    `unread` are folders within it whose model files are no part of it, `missing` files that it names and has not.
    """

    name: str
    files: tuple[ListedFile, ...]
    others: tuple[str, ...]
    tensors: tuple[ListedTensor, ...]
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """The elements of all tensors that are listed."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors that are listed."""
        return sum(tensor.nbytes for tensor in self.tensors)


def ls(model: Model, patterns: Sequence[str] = (), *, metadata: bool = True) -> LsReport:
    """Return the tensors of a model, those that match one of `patterns` where some are given; no tensor is read.

    A pattern is a glob in which `*` also stands for dots and slashes. Raises NotFoundError (tensor-unknown) for one
    that nothing matches.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in model.names):
            hint = "`*` stands for any letters, dots too, as in '*.bias'"
            raise NotFoundError(f"{model.path} has no tensor like {pattern!r}", kind="tensor-unknown", hint=hint)
    files = tuple(
        ListedFile(file.path, file.format, len(file.specs), file.metadata() if metadata else None)
        for file in model.files
    )
    tensors = tuple(
        _listed(name, file.specs[inner], file.path)
        for name, (file, inner) in model.names.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    return LsReport(model.path, files, model.others, tensors, model.unread, model.missing)


def _listed(name: str, spec: TensorSpec, file: str) -> ListedTensor:
    return ListedTensor(name, spec.dtype.name, spec.shape, prod(spec.shape), spec.nbytes, file)
