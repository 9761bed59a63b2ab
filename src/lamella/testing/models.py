"""Tiny model files for tests: safetensors of which every byte follows from names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from blake3 import blake3

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import build_header


def values(spec: TensorSpec, version: int = 0) -> bytes:
    """Return the bytes of a tensor, another pattern for each name and version."""
    return blake3(f"{spec.name} {version}".encode("utf-8", "surrogatepass")).digest(length=spec.nbytes)


def model(specs: Iterable[TensorSpec], versions: Mapping[str, int] | None = None, *, note: str | None = None) -> bytes:
    """Return a safetensors file of `specs`, the tensors in `versions` in that version and all others in version 0.

    `note` goes into the header's metadata, beside the tensors.
    """
    listed = list(specs)
    header = build_header(listed, None if note is None else {"note": note})
    return header + b"".join(values(spec, (versions or {}).get(spec.name, 0)) for spec in listed)


def spec(name: str, *shape: int, dtype: str = "f32") -> TensorSpec:
    """Return the spec of a tensor."""
    return TensorSpec(name, DTYPES[dtype], shape)


LAYERS = tuple(spec(f"layer.{number}.{part}", 4, 6) for number in range(4) for part in ("bias", "weight"))
"""The tensors of `network`."""


def network(note: str | None = None, /, **versions: int) -> bytes:
    """Return a network of four layers; `layer_1_weight=3` says that its `layer.1.weight` has version 3."""
    return model(LAYERS, {name.replace("_", "."): version for name, version in versions.items()}, note=note)
