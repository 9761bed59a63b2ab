"""The ways of encoding a tensor that are compared, each on one thread."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from lamella.codec import kernels
from lamella.codec.alone import Alone, fit_alone
from lamella.codec.base import Codec
from lamella.codec.builtin import codec_for, encode
from lamella.codec.delta import LAYOUT_OF_DTYPE, Delta, fit_delta
from lamella.core.buffers import Buffer
from lamella.store.bases import SAMPLE_ITEMS

CHUNK_ITEMS = 1 << 16
ROW_NBYTES = 16
"""What the chunk table of a record takes for each chunk; it is counted."""

Bytes = npt.NDArray[np.uint8]
Fitted = Alone | Delta


@dataclass(frozen=True, slots=True)
class Tensor:
    """The bytes of a tensor, those of the version before, and what they mean."""

    dtype: str
    item_nbytes: int
    data: memoryview
    base: memoryview


@dataclass(frozen=True, slots=True)
class Coder:
    """`encode` returns what `decode` needs beside the tensor's base and lengths, and how many bytes that takes.

    `decode` is lent room for the tensor and returns that, or a buffer of its own where a library gives no choice.
    """

    name: str
    version: str
    encode: Callable[[Tensor], tuple[Any, int]]
    decode: Callable[[Tensor, Any, memoryview], Buffer]


def _array(data: memoryview) -> Bytes:
    return np.frombuffer(data, np.uint8)


def memcpy() -> Coder:
    """Return the copying of the tensor."""

    def decoded(_: Tensor, data: Any, out: memoryview) -> memoryview:
        out[:] = data
        return out

    return Coder("memcpy", "", lambda tensor: (bytearray(tensor.data), len(tensor.data)), decoded)


def lamella(*, alone: bool) -> Coder:
    """Return the codec of this project, tables, checks and all."""

    def encoded(tensor: Tensor) -> tuple[Any, int]:
        size, sampled_nbytes = CHUNK_ITEMS * tensor.item_nbytes, SAMPLE_ITEMS * tensor.item_nbytes
        starts = range(0, len(tensor.data), size)
        data, base = tensor.data, tensor.base
        sampled = [starts[(2 * step + 1) * len(starts) // 16] for step in range(8)] if len(starts) > 8 else starts
        codec: Fitted
        if alone:
            codec = fit_alone(tensor.item_nbytes, (data[at : at + sampled_nbytes] for at in sampled))
        else:
            pairs = ((data[at : at + sampled_nbytes], base[at : at + sampled_nbytes]) for at in sampled)
            codec = fit_delta(LAYOUT_OF_DTYPE[tensor.dtype], pairs)
        chunks = [
            encode(data[at : at + size], tensor.item_nbytes, None if alone else base[at : at + size], codec)
            for at in starts
        ]
        nbytes = len(codec.parameters) + sum(len(payload) + ROW_NBYTES for _, payload in chunks)
        return (codec.parameters, chunks), nbytes

    def decoded(tensor: Tensor, kept: Any, out: memoryview) -> memoryview:
        parameters, chunks = kept
        size = CHUNK_ITEMS * tensor.item_nbytes
        for number, (code, payload) in enumerate(chunks):
            at = number * size
            against = None if alone else tensor.base[at : at + size]
            codec_for(code, parameters).decode(payload, tensor.item_nbytes, against, out[at : at + size])
        return out

    return Coder("lamella alone" if alone else "lamella", "", encoded, decoded)


def in_chunks(codec: Codec) -> Coder:
    """Return a codec of this project that is the same for all objects and needs no base."""

    def parts(tensor: Tensor) -> Iterator[slice]:
        size = CHUNK_ITEMS * tensor.item_nbytes
        return (slice(at, at + size) for at in range(0, len(tensor.data), size))

    def encoded(tensor: Tensor) -> tuple[Any, int]:
        payloads = [codec.encode(tensor.data[part], tensor.item_nbytes, None) for part in parts(tensor)]
        return payloads, sum(len(payload) + ROW_NBYTES for payload in payloads)

    def decoded(tensor: Tensor, payloads: Any, out: memoryview) -> memoryview:
        for part, payload in zip(parts(tensor), payloads, strict=True):
            codec.decode(payload, tensor.item_nbytes, None, out[part])
        return out

    return Coder(f"lamella {codec.name}", "", encoded, decoded)


def xor_planes(level: int, *, rotated: bool = False) -> Coder:
    """Return XOR with the base, split into byte planes by this project's kernels, each plane under zstd.

    `rotated` has the exponent fill one plane, sign and mantissa the others, which is BitX (Su et al., "ZipLLM",
    arXiv:2505.06252).
    """
    compressor, decompressor = zstandard.ZstdCompressor(level), zstandard.ZstdDecompressor()
    room = bytearray()

    def lent(nbytes: int) -> memoryview:
        room.extend(bytes(max(0, nbytes - len(room))))
        return memoryview(room)[:nbytes]

    def encoded(tensor: Tensor) -> tuple[Any, int]:
        planes = lent(len(tensor.data))
        if rotated:
            mixed = (_array(tensor.data) ^ _array(tensor.base)).view(f"u{tensor.item_nbytes}")
            turned = mixed << 1 | mixed >> (8 * tensor.item_nbytes - 1)
            kernels.split_planes(turned.tobytes(), tensor.item_nbytes, None, planes)
        else:
            kernels.split_planes(tensor.data, tensor.item_nbytes, tensor.base, planes)
        size = len(planes) // tensor.item_nbytes
        frames = [compressor.compress(planes[at : at + size]) for at in range(0, len(planes), size)]
        return frames, sum(map(len, frames))

    def decoded(tensor: Tensor, frames: Any, out: memoryview) -> Buffer:
        planes = lent(len(out))
        size = len(planes) // tensor.item_nbytes
        for number, frame in enumerate(frames):
            planes[number * size : (number + 1) * size] = decompressor.decompress(frame)
        kernels.join_planes(planes, tensor.item_nbytes, None if rotated else tensor.base, out)
        if not rotated:
            return out
        mixed = np.frombuffer(out, f"u{tensor.item_nbytes}")
        return ((mixed >> 1 | mixed << (8 * tensor.item_nbytes - 1)).view(np.uint8) ^ _array(tensor.base)).tobytes()

    name = f"BitX zstd-{level}" if rotated else f"XOR planes zstd-{level}"
    return Coder(name, zstandard.__version__, encoded, decoded)


def bytewise(level: int) -> Coder:
    """Return zstd on the bytes as they are."""
    compressor, decompressor = zstandard.ZstdCompressor(level), zstandard.ZstdDecompressor()

    def encoded(tensor: Tensor) -> tuple[Any, int]:
        frame = compressor.compress(tensor.data)
        return frame, len(frame)

    return Coder(f"zstd-{level}", zstandard.__version__, encoded, lambda _, frame, __: decompressor.decompress(frame))


def zipnn() -> Coder | None:
    """Return ZipNN on the tensor alone, None where the package is not installed (`pip install zipnn`)."""
    try:
        found = version("zipnn")
    except PackageNotFoundError:
        return None
    with warnings.catch_warnings():
        # What it imports warns of itself.
        warnings.simplefilter("ignore")
        from zipnn import ZipNN  # type: ignore[import-not-found, import-untyped, unused-ignore]

    names = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
    coders = {dtype: ZipNN(input_format="byte", bytearray_dtype=name, threads=1) for dtype, name in names.items()}

    def encoded(tensor: Tensor) -> tuple[Any, int]:
        # It overwrites what it is given.
        kept = coders[tensor.dtype].compress(bytearray(tensor.data))
        return kept, len(kept)

    return Coder("ZipNN", found, encoded, lambda tensor, kept, _: coders[tensor.dtype].decompress(kept))


def against_a_base() -> list[Coder]:
    """Return the ways that use the version before."""
    return [lamella(alone=False), xor_planes(1), xor_planes(3), xor_planes(3, rotated=True)]


def by_themselves() -> list[Coder]:
    """Return the ways that use the tensor alone, with ZipNN where it is installed."""
    found = zipnn()
    return [lamella(alone=True), bytewise(3), *([found] if found else [])]
