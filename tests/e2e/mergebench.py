"""Models of few numbers on two branches, to be merged: what each side moved is said tensor by tensor."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import build_header
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
NAMES = ("embed", "h.0", "h.1", "h.2", "head")
START = dict.fromkeys(NAMES, (1.0, 2.0, 3.0, 4.0))

Values = Mapping[str, Sequence[float]]


def weights(changes: Values | None = None, *, without: Sequence[str] = (), start: Values = START) -> bytes:
    """Return a safetensors file of short float32 tensors: those of the start, or as they are in `changes`."""
    values = {name: row for name, row in {**start, **(changes or {})}.items() if name not in without}
    specs = [TensorSpec(name, DTYPES["f32"], (len(row),)) for name, row in values.items()]
    return build_header(specs, None) + b"".join(struct.pack(f"<{len(row)}f", *row) for row in values.values())


def numbers(data: bytes) -> dict[str, tuple[float, ...]]:
    """Return what `weights` was given."""
    import json

    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        found[name] = struct.unpack(f"<{(end - first) // 4}f", data[start + first : start + end])
    return found


def branch_off(bench: Workbench, ours: bytes, theirs: bytes, base: bytes | None = None, path: str = MODEL) -> None:
    """Commit a model on main, `theirs` on the branch other, `ours` on main again."""
    bench.commit(path, weights() if base is None else base)
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(path, theirs, "theirs")
    bench.git("switch", "--quiet", "main")
    bench.commit(path, ours, "ours")


OPPOSED = (weights({"h.0": (2.0, 3.0, 4.0, 5.0)}), weights({"h.0": (0.0, 1.0, 2.0, 3.0)}))
"""Two sides of which a tensor moved in opposite directions."""
