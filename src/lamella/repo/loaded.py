"""A model that was opened, in one file or several, on disk or at a revision: a mapping of name to array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.repo.arrays import to_array
from lamella.repo.joined_model import Model
from lamella.repo.model_parts import data_files

if TYPE_CHECKING:
    import numpy


class LoadedModel(Mapping[str, "numpy.ndarray[Any, Any]"]):
    """The tensors of a model, as `lamella.load` returns them. Close it, or use it in a `with` block.

    As a mapping it gives NumPy arrays, each read when it is looked up; `read` gives raw bytes of any range. What comes
    from the store is verified; of a file on disk the bytes are what it holds at that moment, and ConflictError
    (file-changed) is raised where it is no longer the file that was opened. A file of no known format has no tensors.
    A model of which a file is missing is not loaded: NotFoundError (path-unknown) is raised.
    """

    def __init__(self, model: Model, owned: ExitStack | None = None) -> None:
        model.check_whole()
        self._model = model
        self._owned = owned
        self.label = model.path

    def close(self) -> None:
        """Close the files and the repository, if they were opened for this alone."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def files(self) -> int:
        """How many files it is in."""
        return len(self._model.files)

    @property
    def format(self) -> str:
        """The name of the format of its file, or of the first of its files."""
        return self._model.files[0].format

    @property
    def model_id(self) -> str:
        """The id that the same weights have in any container, in one file or in many; files on disk are hashed."""
        return self._model.model_id()

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors, file by file, each in file order."""
        return [replace(file.specs[inner], name=name) for name, (file, inner) in self._model.names.items()]

    def metadata(self) -> Mapping[str, str]:
        """Return what the file says beside its tensors, long values cut; of several files, what the first says."""
        return self._model.files[0].metadata() or {}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from `start` to `stop` of one tensor, decoding only the chunks they touch."""
        if start < 0:
            raise UsageError(f"cannot read from byte {start}", kind="bad-argument")
        file, inner = self._model.find(name)
        return file.read(inner, start, stop)

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named its bytes, in pieces. See `Model.stream`."""
        return self._model.stream(names)

    @property
    def data_files(self) -> Mapping[str, int]:
        """The files that an ONNX model takes from beside it, by name, and how many of its tensors each has."""
        return {name: len(file.specs) for name, file in data_files(self._model.files).items()}

    def file_pieces(self, data_file: str | None = None) -> Iterator[Buffer]:
        """Yield the file itself, or one of its data files, in order, bit for bit.

        Raises UsageError (bad-argument) where there are several.
        """
        beside = data_files(self._model.files)
        if self.files != 1 + len(beside):
            raise UsageError(f"{self.label} is in several files", kind="bad-argument", hint="name one of them")
        return (self._model.files[0] if data_file is None else beside[data_file]).pieces()

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
        return f"<LoadedModel {self.label}: {len(self)} tensors in {len(self._model.files)} files>"
