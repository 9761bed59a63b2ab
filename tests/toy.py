"""A container for tests, the simplest that has everything: tensors that lie anywhere, views, gaps, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.tensors import TensorSpec
from lamella.formats import builtin
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Layout, RandomAccess

MAGIC = b"TOY!"


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor of a toy file: where its first element lies behind the header, and how far apart they lie, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...] | None = None
    swapped: bool = False


def toy(tensors: Mapping[str, Placed], data: bytes, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a toy file."""
    listed = {
        name: [one.dtype, one.shape, one.offset, one.strides, one.swapped, ["os.system"] if name == "evil" else []]
        for name, one in tensors.items()
    }
    header = json.dumps([listed, dict(metadata or {})]).encode()
    return MAGIC + len(header).to_bytes(4, "little") + header + data


class ToyFormat:
    """A JSON header of names, dtypes, shapes, offsets and strides, then whatever the tensors are in."""

    name = "toy"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        return head[:4] == MAGIC

    def layout(self, file: RandomAccess) -> Layout:
        (listed, _), start = self._header(file)
        tensors, foreign = [], []
        for name, (dtype, shape, offset, strides, swapped, code) in listed.items():
            spec = TensorSpec(name, dtype_named(dtype), tuple(shape))
            steps = row_major(spec) if strides is None else strides
            tensors.append(strided(spec, start + offset, steps, swapped=swapped))
            foreign += code
        return arrange(self.name, file.nbytes, tensors, foreign)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        found: dict[str, str] = self._header(file)[0][1]
        return found

    def _header(self, file: RandomAccess) -> tuple[Any, int]:
        nbytes = int.from_bytes(file.read_at(4, 4), "little")
        try:
            return json.loads(bytes(file.read_at(8, nbytes))), 8 + nbytes
        except ValueError:
            raise FormatError("toy header is malformed", kind="header-malformed") from None


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have toy files read by their tensors."""
    monkeypatch.setattr(builtin, "FORMATS", (*builtin.FORMATS, ToyFormat()))
