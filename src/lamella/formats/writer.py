"""The Writer protocol: tensors, one after the other, become a file of another container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec

Contents = Iterator[Iterator[Buffer]]
"""The bytes of tensor after tensor, each in pieces. One is gone through to its end before the next is asked for."""

Pieces = Iterator[tuple[int, Buffer]]
"""What a file consists of: bytes, and where they go. The last bytes may come before others, none is left out."""


class Writer(Protocol):
    """A container that files are written in.

    The same tensors and metadata give the same bytes, whatever the day and the machine. Memory does not grow with the
    tensors: `write` takes each of their bytes once, in order, and yields it on.
    """

    name: str
    """What the user calls the container."""

    suffixes: tuple[str, ...]
    """How files of it are called."""

    formats: tuple[str, ...]
    """The names, in manifests, of the formats that are this container."""

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors in the order in which they are written."""
        ...

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the file that holds `specs`, which are `arranged`; `contents` has their bytes in that order.

        Raises UsageError (dtype-unsupported, bad-argument), before the first piece, for tensors, names and metadata
        that the container cannot hold.
        """
        ...


def refuse_metadata(container: str, metadata: Mapping[str, str]) -> None:
    """Raise UsageError (bad-argument) for a container that has no place for metadata."""
    if metadata:
        hint = "leave out --metadata; safetensors and gguf keep it"
        raise UsageError(f"{container} has no place for metadata", kind="bad-argument", hint=hint)


def unsupported(container: str, spec: TensorSpec, hint: str) -> UsageError:
    """Return the error for a tensor of a dtype that a container does not have; one of blocks has a hint of its own."""
    if spec.dtype.block_elements > 1:
        hint = "leave out what is quantised with `--select '!PATTERN'`, or write gguf"
    message = f"{container} has no dtype {spec.dtype.name}, which tensor {spec.name[:80]!r} is of"
    return UsageError(message, kind="dtype-unsupported", hint=hint)


def encoded(container: str, name: str) -> bytes:
    """Return a name in UTF-8; raise UsageError (bad-argument) for one that is no text, or has zeros."""
    try:
        if "\0" not in name:
            return name.encode()
    except UnicodeEncodeError:
        pass
    raise UsageError(f"{container} cannot hold the name {name[:80]!r}", kind="bad-argument", hint="--rename changes it")
