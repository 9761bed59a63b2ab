"""The models that the benchmark stores, made without a framework and alike on every machine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Bits: TypeAlias = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor by its name and shape, a number that seeds its values, and their standard deviation."""

    name: str
    shape: tuple[int, ...]
    seed: int
    scale: float = 0.02

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def bf16(values: Floats) -> Bits:
    """Return finite `values` rounded to bfloat16, to nearest and ties to even, as bit patterns."""
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def widened(bits: Bits) -> Floats:
    """Return the values of bfloat16 bit patterns."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def write(path: Path, weights: Iterable[Weight], values: Callable[[Weight], Bits]) -> None:
    """Write a safetensors file of bfloat16, one tensor at a time (github.com/huggingface/safetensors, README)."""
    listed = list(weights)
    header: dict[str, object] = {}
    offset = 0
    for weight in listed:
        end = offset + 2 * weight.size
        header[weight.name] = {"dtype": "BF16", "shape": weight.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for weight in listed:
            values(weight).tofile(file)


def read(path: Path) -> dict[str, tuple[str, memoryview]]:
    """Return the dtype, as the file calls it, and the bytes of each tensor of a safetensors file of our own making."""
    data = memoryview(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8 : 8 + length]))
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {name: (entry["dtype"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def transformer(nbytes: int) -> list[Weight]:
    """Return the first tensors of a decoder until they take `nbytes`: one of 67 MB, then of 8 and 34 MB."""
    width, wide = 2048, 8192
    square, tall, flat = (width, width), (wide, width), (width, wide)
    parts = [(f"self_attn.{letter}_proj", square) for letter in "qkvo"]
    parts += [("mlp.gate_proj", tall), ("mlp.up_proj", tall), ("mlp.down_proj", flat)]
    weights = [Weight("model.embed_tokens.weight", (8 * width, width), 0)]
    while 2 * sum(weight.size for weight in weights) < nbytes:
        layer, number = divmod(len(weights) - 1, len(parts))
        part, shape = parts[number]
        weights.append(Weight(f"model.layers.{layer}.{part}.weight", shape, len(weights)))
    return weights


def encoder() -> list[Weight]:
    """Return the weights of a sentence encoder: 6 layers of width 384 under a vocabulary of 30,522, 22.7 M in all."""
    width, wide = 384, 1536
    shapes = {
        "embeddings.word_embeddings.weight": (30522, width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    for layer in range(6):
        stem = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes[f"{stem}.{part}.weight"] = (width, width)
        shapes[f"{stem}.intermediate.dense.weight"] = (wide, width)
        shapes[f"{stem}.output.dense.weight"] = (width, wide)
    shapes["pooler.dense.weight"] = (width, width)
    return [Weight(name, shape, seed, scale=0.05) for seed, (name, shape) in enumerate(shapes.items())]


def initial(weight: Weight) -> Bits:
    """Return Gaussian weights."""
    return bf16(_gaussian(weight, "initial") * np.float32(weight.scale))


def perturbed(weight: Weight) -> Bits:
    """Return `initial` plus Gaussian noise of 1 % of its scale, rounded."""
    return bf16(widened(initial(weight)) + _gaussian(weight, "noise") * np.float32(0.01 * weight.scale))


def trained(weight: Weight, steps: int, rate: float = 2e-5, decay: float = 0.01) -> Bits:
    """Return `initial` after about `steps` of AdamW at learning rate `rate`, as a walk.

    A step moves a weight by about the rate, whatever the weight is, and shrinks it by rate times `decay`. Rows of the
    vocabulary that the data never name only shrink; the data name one in ten. From step 0
    to 20, 0 to 60 and 40 to 60 it changes .20, .29 and .23 of the patterns; a real series of this shape, .25, .32, .19.
    """
    moved = np.zeros(weight.size, np.float32)
    for leg in range(0, steps, 20):
        legs = min(20, steps - leg)
        moved += _gaussian(weight, f"steps {leg}") * np.float32(rate * legs**0.5)
    if "word_embeddings" in weight.name:
        named = np.random.default_rng(weight.seed).random(weight.shape[0]) < 0.1
        moved *= np.repeat(named, weight.size // weight.shape[0])
    return bf16(widened(initial(weight)) * np.float32((1 - rate * decay) ** steps) + moved)


def _gaussian(weight: Weight, purpose: str) -> Floats:
    generator = np.random.default_rng([weight.seed, *purpose.encode()])
    return generator.standard_normal(weight.size, dtype=np.float32)
