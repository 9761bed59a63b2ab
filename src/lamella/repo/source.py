"""The protocol of a whole model that is read: from a revision, a file, or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSource


class ModelSource(TensorSource, Protocol):
    """A TensorSource that also yields tensors in bounded memory, and knows what it was read from."""

    @property
    def label(self) -> str:
        """What messages call it."""
        ...

    @property
    def files(self) -> int:
        """How many files it is in."""
        ...

    @property
    def format(self) -> str:
        """The name, as in manifests, of the format of its files."""
        ...

    @property
    def model_id(self) -> str:
        """The id that the same weights have in any container."""
        ...

    def metadata(self) -> Mapping[str, str]:
        """Return what its file says beside the tensors, long values cut."""
        ...

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named, in that order, its bytes in pieces of some MiB at most.

        Each is gone through to its end before the next is asked for. Raises as `read` does.
        """
        ...

    @property
    def data_files(self) -> Mapping[str, int]:
        """The files that its own file takes from beside it, by name, and how many of its tensors each has."""
        ...

    def file_pieces(self, data_file: str | None = None) -> Iterator[Buffer]:
        """Yield the file itself, or one of its data files, in order.

        Raises UsageError (bad-argument) where it is not in one file and its data files.
        """
        ...
