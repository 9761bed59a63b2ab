"""A model of several files at a revision: a TensorSource, and a mapping of name to array, as a snapshot of one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamella.core.tensors import TensorSpec
from lamella.repo.arrays import to_array
from lamella.repo.model_file import StoredModelFile
from lamella.repo.model_files import Model

if TYPE_CHECKING:
    import numpy


class ModelSnapshot(Mapping[str, "numpy.ndarray[Any, Any]"]):
    """The tensors of a folder, or of a sharded model, at one revision, read and verified as those of `Snapshot`."""

    def __init__(self, model: Model, label: str) -> None:
        self._model = model
        self.label = label

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors, file by file, each in file order."""
        return [self._model.spec(name) for name in self._model.names]

    @property
    def model_id(self) -> str:
        """The id that the same weights have in any container, in one file or in many."""
        return self._model.model_id()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor, decoding only the chunks they touch."""
        file, inner = self._model.find(name)
        assert isinstance(file, StoredModelFile)
        return file.snapshot.read(inner, start, stop)

    def __getitem__(self, name: str) -> numpy.ndarray[Any, Any]:
        if name not in self._model.names:
            raise KeyError(name)
        return to_array(self._model.spec(name), self.read(name))

    def __contains__(self, name: object) -> bool:
        return name in self._model.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._model.names)

    def __len__(self) -> int:
        return len(self._model.names)

    def __repr__(self) -> str:
        return f"<ModelSnapshot {self.label}: {len(self)} tensors in {len(self._model.files)} files>"
