"""Two models are put beside each other: how long that takes, and how much of it is right.

The models are stacks of transformer blocks drawn at random. The second one is the first after training, with a block
inserted, one deleted and two swapped; or so with other names for everything, or with a larger hidden size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.models import Floats
from benchmarks.report import Row
from lamella.model.align import align
from lamella.model.alignment import Alignment
from lamella.testing.weights import Weights

LAYERS = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.down")
Block = Mapping[str, Floats]
Model = dict[str, Floats]
MOST_WRONG = 0.01


def blocks(count: int, width: int, seed: int = 1) -> list[Block]:
    """Return blocks of six layers, each with a weight and a bias that is still zero."""
    draw = np.random.default_rng(seed)
    return [
        {
            f"{layer}.{part}": np.float32(0.02) * draw.standard_normal((width, width), dtype=np.float32)
            if part == "weight"
            else np.zeros(width, np.float32)
            for layer in LAYERS
            for part in ("weight", "bias")
        }
        for _ in range(count)
    ]


def tuned(block: Block, seed: int, share: float = 0.05) -> Block:
    """Return a block after training: every tensor moved by a share of its deviation."""
    draw = np.random.default_rng(seed)
    scale = np.float32(0.02 * share)
    return {name: array + scale * draw.standard_normal(array.shape, dtype=np.float32) for name, array in block.items()}


def named(listed: Sequence[Block]) -> Model:
    """Return blocks as one model."""
    return {f"h.{number}.{name}": array for number, block in enumerate(listed) for name, array in block.items()}


def edited(listed: Sequence[Block], width: int) -> tuple[Model, dict[str, str]]:
    """Return the model after training and some surgery, and which tensor each one became."""
    now: list[tuple[int | None, Block]] = [(was, tuned(block, 100 + was)) for was, block in enumerate(listed)]
    now[2], now[3] = now[3], now[2]
    del now[len(now) * 5 // 8]
    now.insert(7, (None, blocks(1, width, seed=99)[0]))
    truth = {
        f"h.{was}.{name}": f"h.{number}.{name}"
        for number, (was, block) in enumerate(now)
        if was is not None
        for name in block
    }
    return named([block for _, block in now]), truth


def renamed(model: Model, truth: Mapping[str, str]) -> tuple[Model, dict[str, str]]:
    """Return a model with other names for everything, module by module."""
    names = {
        name: name.replace("h.", "model.layers.").replace("attn.", "self.").replace("mlp.", "ff.") for name in model
    }
    made = {names[name]: array for name, array in model.items()}
    return made, {before: names[after] for before, after in truth.items()}


def widened(model: Model) -> Model:
    """Return a model half as wide again, the old one in the corner of each tensor."""
    draw = np.random.default_rng(5)
    made = {}
    for name, array in model.items():
        made[name] = np.float32(0.02) * draw.standard_normal([n * 3 // 2 for n in array.shape], dtype=np.float32)
        made[name][tuple(slice(0, n) for n in array.shape)] = array
    return made


class Sketched(Weights):
    """Weights whose sketches are at hand, as those of a commit are."""

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        super().__init__(arrays)
        names = list(arrays)
        self._kept = super().sketches(names)
        self._row = {name: row for row, name in enumerate(names)}
        self._contents = super().contents()

    def sketches(self, names: Sequence[str]) -> Floats:
        """Return what is at hand."""
        found: Floats = self._kept[[self._row[name] for name in names]]
        return found

    def contents(self) -> Sequence[bytes]:
        """Return what is at hand."""
        return self._contents


def wrong(found: Alignment, truth: Mapping[str, str]) -> tuple[float, float]:
    """Return which share of the pairs is wrong, and which share of the tensors was missed."""
    pairs = {pair.before: pair.after for pair in found.pairs}
    right = sum(truth.get(before) == after for before, after in pairs.items())
    return 1 - right / max(1, len(pairs)), 1 - right / len(truth)


def measured(section: str, before: Model, after: Model, truth: Mapping[str, str], bound: float | None) -> list[Row]:
    """Return how long two models take, with sketches and without, and how much is wrong."""
    rows = []
    for label, kind, limit in (("sketches at hand", Sketched, bound), ("sketches taken", Weights, None)):
        one, other = kind(before), kind(after)
        best = min(_seconds(one, other) for _ in range(3))
        rows.append(Row(section, "lamella", f"time, {label}", best, "s", limit))
    shares = wrong(align(one, other), truth)
    rows.append(Row(section, "lamella", "pairs that are wrong", shares[0], "of all", MOST_WRONG))
    rows.append(Row(section, "lamella", "tensors that were missed", shares[1], "of all", MOST_WRONG))
    return rows


def _seconds(before: Weights, after: Weights) -> float:
    began = time.perf_counter()
    align(before, after)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alignment", description=__doc__)
    parser.add_argument("--width", type=int, default=128, help="of a layer; more makes sketches slower, up to 128")
    parser.add_argument("--large", type=int, default=333, help="blocks of the large model, of six layers each")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    sections = []
    for count, bound in ((24, 0.5), (given.large, 2.0)):
        old = blocks(count, given.width)
        before, (after, truth) = named(old), edited(old, given.width)
        label = f"2 x {count * len(LAYERS):,} layers"
        sections.append(measured(label, before, after, truth, bound))
        sections.append(measured(f"{label}, other names", before, *renamed(after, truth), bound))
        if count == 24:
            sections.append(measured(f"{label}, another width", before, widened(after), truth, None))
    for rows in sections:
        print(f"\n{rows[0].section}\n{report.table(rows)}", flush=True)
    options = {"width": given.width, "large": given.large}
    return report.conclude("alignment", given.output, options, {}, [row for rows in sections for row in rows])


if __name__ == "__main__":
    sys.exit(main())
