"""What `lamella diff` takes on two models of 491 MB, beside other tools that compare weights.

The program is timed as a person runs it: files are hashed, layers aligned, every tensor measured, the report printed.
The others are `sft` (sft-cli 0.2.2) and `modeldelta` (0.4.4), if their programs are named; install them in an
environment of their own. Contenders take turns; the medians of the times and the highest memory are shown.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure, models, peers, report
from benchmarks.measure import Cost
from benchmarks.models import Bits, Weight, bf16
from benchmarks.report import ROOT, Row

MEGABYTE = 10**6
BLOCKS = 23
WIDTH, WIDE, VOCABULARY = 896, 2304, 32_000
MOVED = 0.1
"""How far every weight of the second model moved, as a share of the standard deviation of the weights."""

MOST_SECONDS = 4.0
MOST_MEGABYTES = 150.0
MOST_UNCHANGED_SECONDS = 0.3
LEAST_TIMES_AS_FAST = 3.0


def decoder(blocks: int) -> list[Weight]:
    """Return the weights of a decoder; 23 blocks take 491 MB in bf16."""
    square, tall, flat = (WIDTH, WIDTH), (WIDE, WIDTH), (WIDTH, WIDE)
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH)}
    for block in range(blocks):
        stem = f"model.layers.{block}"
        shapes |= {f"{stem}.self_attn.{letter}_proj.weight": square for letter in "qkvo"}
        shapes |= {f"{stem}.mlp.gate_proj.weight": tall, f"{stem}.mlp.up_proj.weight": tall}
        shapes |= {f"{stem}.mlp.down_proj.weight": flat}
    return [Weight(name, shape, seed) for seed, (name, shape) in enumerate(shapes.items())]


def moved(weight: Weight) -> Bits:
    """Return the weights after: every one moved."""
    draw = np.random.default_rng(10_000 + weight.seed)
    step = draw.standard_normal(weight.size, dtype=np.float32) * np.float32(MOVED * weight.scale)
    return bf16(models.widened(models.initial(weight)) + step)


def commands(before: Path, after: Path, others: dict[str, str]) -> dict[str, list[str]]:
    """Return how each contender compares two files."""
    known = {
        "sft": ["diff", "--delta", str(before), str(after)],
        "modeldelta": [str(before.parent), str(after.parent)],
    }
    found = {"lamella": [sys.executable, "-m", "lamella.cli.main", "diff", "--no-index", str(before), str(after)]}
    return found | {name: [program, *known[name]] for name, program in others.items()}


def alternating(contenders: dict[str, list[str]], rounds: int) -> dict[str, Cost]:
    """Return the cost of each contender; every round runs each once, so that all share the machine's moods."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, command in contenders.items():
            print(f"  round {number + 1} of {rounds}: {name}", flush=True)
            costs[name].append(measure.run(command, ROOT, os.environ))
    return {name: measure.typical(listed) for name, listed in costs.items()}


def rows(section: str, costs: dict[str, Cost], most_seconds: float) -> list[Row]:
    """Return what every contender took, with what is promised of Lamella."""
    found = []
    for name, cost in costs.items():
        ours = name == "lamella"
        found += [
            Row(section, name, "all measures", cost.wall_seconds, "s", most_seconds if ours else None),
            Row(section, name, "all measures", cost.cpu_seconds, "cpu s"),
        ]
        if cost.anonymous_nbytes is not None:
            megabytes = cost.anonymous_nbytes / MEGABYTE
            found.append(Row(section, name, "all measures", megabytes, "MB", MOST_MEGABYTES if ours else None))
    fastest = min((cost.wall_seconds for name, cost in costs.items() if name != "lamella"), default=math.inf)
    if fastest < math.inf:
        share = costs["lamella"].wall_seconds / fastest
        found.append(Row(section, "lamella", "of the fastest other", share, "x", 1 / LEAST_TIMES_AS_FAST))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semantics", description=__doc__)
    parser.add_argument("--sft", type=Path, help="the sft program")
    parser.add_argument("--modeldelta", type=Path, help="the modeldelta program")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="blocks of the models")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs; medians are shown")
    parser.add_argument("--work", type=Path, default=ROOT / "bench-run", help="where the files are made")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    programs = {"sft": given.sft, "modeldelta": given.modeldelta}
    others = {name: os.path.abspath(program) for name, program in programs.items() if program is not None}
    given.work.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        before, copy, after = (Path(work, name, peers.MODEL) for name in ("before", "copy", "after"))
        for path in (before, copy, after):
            path.parent.mkdir()
        weights = decoder(given.blocks)
        models.write(before, weights, models.initial)
        models.write(copy, weights, models.initial)
        models.write(after, weights, moved)
        print(f"2 x {before.stat().st_size / MEGABYTE:.0f} MB of bf16")
        for section, second, most in (("changed", after, MOST_SECONDS), ("unchanged", copy, MOST_UNCHANGED_SECONDS)):
            print(f"\n{section}", flush=True)
            part = rows(section, alternating(commands(before, second, others), given.rounds), most)
            print(report.table(part), flush=True)
            found += part
    versions = {name: peers.version_of(others[name]) if name in others else "absent" for name in programs}
    return report.conclude("semantics", given.output, {"blocks": given.blocks, "rounds": given.rounds}, versions, found)


if __name__ == "__main__":
    sys.exit(main())
