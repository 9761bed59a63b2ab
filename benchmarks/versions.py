"""A model of 500 tensors over 1,000 versions: how long it takes to tell where each tensor comes from.

Every version moves a few tensors. `blame` with --no-measure goes by ids alone; without, and in `history`, weights are
read to say how far a tensor moved.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure, report
from benchmarks.report import ROOT, Row

TENSORS, VERSIONS, MOVED = 500, 1000, 5
MODEL = "model.safetensors"
MOST_SECONDS = 2.0


def make_history(folder: Path, tensors: int, versions: int) -> None:
    """Commit a model of so many tensors so often, some of them moved each time."""
    from lamella import Repo

    generator = np.random.default_rng(0)
    model = {f"h.{n // 10}.{n % 10}.weight": generator.standard_normal((8, 16), np.float32) for n in range(tensors)}
    names = list(model)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder)], check=True)
    for key, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
        subprocess.run(["git", "-C", str(folder), "config", key, value], check=True)
    for words in (["init", "-q"], ["track", MODEL]):
        subprocess.run([Path(sys.executable).with_name("lamella"), "-C", str(folder), *words], check=True)
    with Repo.open(folder) as repository:
        for number in range(versions):
            for place in generator.choice(tensors, MOVED, replace=False):
                noise = np.float32(1e-3) * generator.standard_normal((8, 16), np.float32)
                model[names[place]] = model[names[place]] + noise
            repository.commit(model, MODEL, f"step {number}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("--tensors", type=int, default=TENSORS)
    parser.add_argument("--versions", type=int, default=VERSIONS)
    parser.add_argument("--rounds", type=int, default=3, help="how often each command runs; medians are shown")
    parser.add_argument("--work", type=Path, default=ROOT / "bench-run", help="where the history is made")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    lamella = str(Path(sys.executable).with_name("lamella"))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        folder = Path(work, "repository")
        make_history(folder, given.tensors, given.versions)
        asked = {
            "blame, by ids": ["blame", f"HEAD:{MODEL}", "--no-measure"],
            "blame": ["blame", f"HEAD:{MODEL}"],
            "history of a tensor": ["history", MODEL, "h.0.0.weight"],
        }
        for what, words in asked.items():
            cost = measure.typical(
                measure.run([lamella, *words], folder, dict(os.environ)) for _ in range(given.rounds)
            )
            rows += [
                Row("versions", "lamella", what, cost.wall_seconds, "s", MOST_SECONDS),
                Row("versions", "lamella", what, cost.cpu_seconds, "cpu s"),
            ]
    print(report.table(rows))
    options: dict[str, object] = {"tensors": given.tensors, "versions": given.versions, "rounds": given.rounds}
    return report.conclude("versions", given.output, options, {}, rows)


if __name__ == "__main__":
    sys.exit(main())
