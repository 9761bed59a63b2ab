"""A model that was quantised and widened again takes what its integers are worth."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save

from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"


def quantised(seed: int, rows: int, width: int) -> np.ndarray:
    """Return Gaussian weights after a round trip through int8, with a scale for each row."""
    weight = np.random.default_rng(seed).normal(0, 0.05, (rows, width)).astype(np.float32)
    scale = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8) * scale


@pytest.mark.parametrize("width", [320, 1024])
def test_fp32_from_int8_rows_is_stored_in_27_hundredths(bench: Workbench, width: int):
    tensors = {f"layer.{number}.weight": quantised(number, 700, width) for number in range(4)}
    tensors["bias"] = np.random.default_rng(9).normal(0, 1, 700).astype(np.float32)
    content = save(tensors)
    bench.write(MODEL, content)
    bench.lamella("add", MODEL)
    bench.lamella("commit", "--quiet", "--message", "quantised")
    stored = sum(path.stat().st_size for path in (bench.root / ".git/lamella/packs").iterdir())
    assert stored <= 0.27 * len(content)
    (bench.root / MODEL).unlink()
    bench.lamella("restore", MODEL)
    assert bench.read(MODEL) == content
    bench.lamella("fsck")
