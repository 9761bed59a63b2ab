"""The files of torch.save before PyTorch 1.6: five pickles, one behind the other, then the bytes of each storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lamella.core.errors import FormatError
from lamella.core.limits import KIB, MAX_PICKLE_NBYTES
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.runs import Runs
from lamella.formats.torch.layout import element_nbytes, place
from lamella.formats.torch.names import Found, find_tensors
from lamella.formats.torch.pickle_end import end_of_pickle
from lamella.formats.torch.pickle_machine import truncated
from lamella.formats.torch.pickle_values import Storage, malformed
from lamella.formats.torch.pickle_walk import Walked, walk_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
_MAX_MAGIC_START = 11
"""The magic number is a pickle of its own, behind what its protocol begins with."""

_PROTOCOL = 1001
_FIRST_READ_NBYTES = 64 * KIB
_GROWTH = 8
_COUNT_NBYTES = 8


class TorchLegacyFormat:
    """Files of any object. Tensors have the names of a state dict, of whatever the object is.

    Storages are little-endian, whatever machine wrote them.
    """

    name = "torch-legacy"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim files that begin with the magic number, as a pickle."""
        return head[:1] == b"\x80" and head.find(_MAGIC_BYTES, 0, _MAX_MAGIC_START + len(_MAGIC_BYTES)) > 0

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such file."""
        saved = _Saved(file)
        layout = arrange(self.name, file.nbytes, place(saved.found.tensors, saved.locate), sorted(saved.foreign))
        return replace(layout, apart=saved.looked.are_apart(layout.tensors))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the plain values in the file, by the names that tensors there would have."""
        return _Saved(file).found.values


class _Saved:
    """A file, read up to its storages, which are measured; `looked` is what that went by."""

    found: Found
    foreign: frozenset[str]

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self._at = 0
        self.looked = Runs()
        self._ranges: dict[str, tuple[int, int]] = {}
        if (self._pickle().value, self._pickle().value) != (_MAGIC, _PROTOCOL):
            raise malformed("its magic number or its protocol is another")
        self._pickle()
        saved, begin = self._pickle(), self._at
        self.found = find_tensors([(None, saved.value)], begin)
        self.foreign = saved.foreign
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in self.found.tensors.values()}
        keys = self._pickle().value
        if type(keys) is not list:
            raise malformed("there is no list of storages")
        for key in keys:
            self._measure(str(key) if type(key) in (str, int) else "", dtypes)

    def _measure(self, key: str, dtypes: Mapping[str, str]) -> None:
        """Note where the next storage lies, and pass over it."""
        if key not in dtypes or key in self._ranges:
            raise malformed("a storage is listed twice, or nothing refers to it")
        count = int.from_bytes(self._file.read_at(self._at, _COUNT_NBYTES), "little")
        start = self._at + _COUNT_NBYTES
        self.looked.note(self._at, start)
        self._at = start + count * element_nbytes(dtypes[key])
        if self._at > self._file.nbytes:
            raise FormatError(
                f"storage {key[:80]!r} leaves the file",
                kind="span-out-of-file",
                hint="the file was probably cut short; copy it again",
            )
        self._ranges[key] = start, self._at

    def locate(self, storage: Storage) -> tuple[int, int]:
        """Return where a storage begins and ends."""
        if storage.key not in self._ranges:
            raise malformed(f"storage {storage.key[:80]!r} is not in the file")
        return self._ranges[storage.key]

    def _pickle(self) -> Walked:
        """Walk the next pickle. How long it is, only its end tells: what is read grows until it has one.

        What was read behind the end is cut off first: it is another where tensors are not at hand.
        """
        nbytes = _FIRST_READ_NBYTES
        while (end := end_of_pickle(data := self._read_up_to(nbytes))) is None:
            if len(data) < nbytes:
                raise truncated()
            if nbytes == MAX_PICKLE_NBYTES:
                raise malformed("it is too long", kind="header-too-large")
            nbytes = min(nbytes * _GROWTH, MAX_PICKLE_NBYTES)
        self.looked.note(self._at, self._at + end)
        self._at += end
        return walk_pickle(data[:end])

    def _read_up_to(self, nbytes: int) -> bytes:
        """Return that many bytes, or as many as are at hand: behind a pickle, tensors may not be."""
        data = b""
        step = min(nbytes, self._file.nbytes - self._at)
        while step and len(data) < nbytes:
            try:
                data += self._file.read_at(self._at + len(data), min(step, nbytes - len(data)))
            except FormatError:
                step //= 2
        return data
