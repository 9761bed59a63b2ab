"""Models in memory that are merged: made from a seed, of any dtype, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.core.numpy_dtypes import numpy_dtype
from lamella.core.tensors import TensorSpec
from lamella.model.merging.contents import Companions
from lamella.model.merging.engine import MergedTensors, Outcome
from lamella.model.merging.models import Models
from lamella.model.merging.plan import MergePlan
from lamella.model.merging.planning import plan_merge
from lamella.model.merging.rules import Rules
from lamella.model.sketch import FLOATS, take_sketch

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SHAPES = ((), (0,), (1,), (7,), (3, 0, 2), (2, 3), (1, 1, 5), (4, 33), (300,))
FLOATS_OF_BYTES = ("f32", "f16", "bf16", "f64", "c64", "f8_e4m3", "f8_e5m2")
PACKED = ("f4_e2m1", "f6_e3m2")
NEVER_AVERAGED = ("u8", "i64", "i32", "bool", "u4", "q4_0", "q8_0")


@dataclass
class Model:
    """A MergeSide: tensors by name, each a spec and its bytes, streamed in pieces of some length."""

    tensors: Mapping[str, tuple[TensorSpec, bytes]]
    piece_nbytes: int = 1 << 16
    read_nbytes: int = field(default=0, compare=False)

    def specs(self) -> Sequence[TensorSpec]:
        """Return the tensors in the order of the mapping."""
        return [spec for spec, _ in self.tensors.values()]

    def contents(self) -> Sequence[bytes]:
        """Return the digests of their bytes."""
        return [blake3(data).digest() for _, data in self.tensors.values()]

    def sketches(self, names: Sequence[str]) -> Array:
        """Return their sketches, made anew."""
        import numpy

        made = numpy.zeros((len(names), FLOATS), numpy.float32)
        for row, name in enumerate(names):
            spec, data = self.tensors[name]
            made[row] = take_sketch(spec, lambda start, stop, data=data: data[start:stop])  # type: ignore[misc]
        return made

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Buffer:
        """Return bytes of one tensor."""
        return self.tensors[name][1][start:stop]

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield tensors in pieces, and count their bytes."""
        for name in names:
            yield self._pieces(self.tensors[name][1])

    def _pieces(self, data: bytes) -> Iterator[Buffer]:
        for at in range(0, len(data), self.piece_nbytes):
            self.read_nbytes += len(data[at : at + self.piece_nbytes])
            yield data[at : at + self.piece_nbytes]

    def with_changes(self, **changed: bytes) -> Model:
        """Return the model with other bytes of some tensors."""
        found = {name: (spec, changed.get(name, data)) for name, (spec, data) in self.tensors.items()}
        return Model(found, self.piece_nbytes)


def model(**tensors: tuple[str, tuple[int, ...], bytes]) -> Model:
    """Return a model of tensors, each given as the name of its dtype, its shape and its bytes."""
    return Model(
        {name: (TensorSpec(name, DTYPES[dtype], shape), data) for name, (dtype, shape, data) in tensors.items()}
    )


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of models: the plan, the bytes of every tensor, and what was seen."""

    plan: MergePlan
    tensors: Mapping[str, bytes]
    outcomes: Mapping[str, Outcome]

    def conflict(self, name: str) -> str | None:
        """Return the kind of conflict that a tensor has, before or after it was computed."""
        planned = next(one for one in self.plan.tensors if one.name == name)
        found = planned.conflict or (self.outcomes[name].conflict if name in self.outcomes else None)
        return None if found is None else found.kind


def merge(
    base: Model | None, sides: Sequence[Model], rules: Rules, threads: int = 1, companions: Companions | None = None
) -> Merged:
    """Return what a merge makes of models."""
    models = Models(base, sides)
    plan = plan_merge(models, rules)
    made = MergedTensors(plan, models, rules.opposition, threads, companions=companions)
    names = [one.name for one in plan.tensors]
    found = {name: b"".join(map(bytes, pieces)) for name, pieces in zip(names, made.stream(names), strict=True)}
    return Merged(plan, found, made.outcomes)


def bits(spec: TensorSpec, seed: int) -> bytes:
    """Return elements of any bits: NaNs, infinities and the smallest numbers among them."""
    data = bytearray(Random(seed).randbytes(spec.nbytes))
    if spec.dtype.bits < 8 and spec.nbytes:
        used = spec.dtype.bits * _count(spec) % 8
        data[-1] &= (1 << used) - 1 if used else 0xFF
    return bytes(data)


def weights(spec: TensorSpec, seed: int, near: bytes | None = None) -> bytes:
    """Return elements as weights are, around those of `near` where it is given; of packed ones any bits."""
    import numpy

    if spec.dtype.name in PACKED:
        return bits(spec, seed)
    noise = numpy.random.default_rng(seed)
    dtype = numpy_dtype(spec.dtype.name)
    values = noise.standard_normal(spec.shape)
    if dtype.kind == "c":
        values = values + 1j * noise.standard_normal(spec.shape)
    if near is not None:
        held = numpy.frombuffer(near, dtype).reshape(spec.shape)
        moved = held.astype(values.dtype) + values / 8
        values = numpy.where(noise.random(spec.shape) < 0.7, moved, held)
    return numpy.asarray(values).astype(dtype).tobytes()


def _count(spec: TensorSpec) -> int:
    found = 1
    for extent in spec.shape:
        found *= extent
    return found
