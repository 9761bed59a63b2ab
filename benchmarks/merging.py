"""What `lamella merge RECIPE.yml` takes on models of 491 MB, beside mergekit on the same recipes.

Both programs are timed as a person runs them, from the shell to files that are whole. mergekit is measured if its
program `mergekit-yaml` is named; install it in an environment of its own (`pip install mergekit torch==2.13.0`).
Contenders take turns; the medians of the times and the highest memory are shown. What they made is compared: with each
other, and with TIES written down in NumPy on models whose changes all differ, where no rule has to choose among equals.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import measure, models, peers, report
from benchmarks.measure import Cost
from benchmarks.models import Bits, Weight, bf16, widened
from benchmarks.report import ROOT, Row
from benchmarks.semantics import BLOCKS, MEGABYTE, MOVED, VOCABULARY, WIDE, WIDTH, alternating, decoder

MOST_SECONDS = {"linear": 2.5, "ties": 10.0}
MOST_MEGABYTES = {"linear": 150.0, "ties": 200.0}
LEAST_TIMES_AS_FAST = 3.0
HEADS = 14
DENSITY = 0.5
EXACT_ELEMENTS = 1 << 20
STEP = 2.0**-24
SAMPLE = "model.layers.0.mlp.up_proj.weight"

Floats = npt.NDArray[np.float64]


def whole_decoder(blocks: int) -> list[Weight]:
    """Return the weights that mergekit asks of a Llama: those that are compared elsewhere, and the norms."""
    norms = [
        f"model.layers.{n}.{name}" for n in range(blocks) for name in ("input_layernorm", "post_attention_layernorm")
    ]
    listed = decoder(blocks)
    more = [Weight(f"{name}.weight", (WIDTH,), len(listed) + n) for n, name in enumerate([*norms, "model.norm"])]
    return [*listed, *more]


def tuned(weight: Weight, number: int) -> Bits:
    """Return the weights of a fine-tune: every one moved, 0 being the base."""
    base = models.initial(weight)
    if not number:
        return base
    draw = np.random.default_rng(10_000 * number + weight.seed)
    step = draw.standard_normal(weight.size, dtype=np.float32) * np.float32(MOVED * weight.scale)
    return bf16(widened(base) + step)


def configuration(blocks: int) -> dict[str, object]:
    """Return what transformers wants to know of a model."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": WIDE,
        "num_hidden_layers": blocks, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }  # fmt: skip


def recipes(work: Path, dtype: str) -> dict[str, str]:
    """Return the recipes by their names, of the models in the folder."""
    sides = "".join(
        f"  - model: {work / name}\n    parameters: {{weight: 0.5, density: {DENSITY}}}\n" for name in ("one", "two")
    )
    return {
        "linear": f"models:\n{sides}merge_method: linear\ndtype: {dtype}\n",
        "ties": f"models:\n{sides}merge_method: ties\nbase_model: {work / 'base'}\ndtype: {dtype}\n",
    }


def ours(recipe: Path, out: Path) -> list[str]:
    """Return the command of Lamella."""
    return [sys.executable, "-m", "lamella.cli.main", "merge", str(recipe), "--out", str(out), "--force"]


def costs(case: str, found: dict[str, Cost]) -> list[Row]:
    """Return what every contender took, with what is promised of Lamella."""
    rows = []
    for name, cost in found.items():
        mine = name == "lamella"
        rows += [
            Row(case, name, "whole process", cost.wall_seconds, "s", MOST_SECONDS[case] if mine else None),
            Row(case, name, "whole process", cost.cpu_seconds, "cpu s"),
        ]
        if cost.anonymous_nbytes is not None:
            megabytes = cost.anonymous_nbytes / MEGABYTE
            rows.append(
                Row(case, name, "peak of anonymous memory", megabytes, "MB", MOST_MEGABYTES[case] if mine else None)
            )
    if "mergekit" in found:
        share = found["lamella"].wall_seconds / found["mergekit"].wall_seconds
        rows.append(Row(case, "lamella", "of mergekit's time", share, "x", 1 / LEAST_TIMES_AS_FAST))
    return rows


def differing(one: Path, other: Path) -> tuple[float, float]:
    """Return which share of elements differ in two models of bf16, and which by more than one step of the dtype."""
    mine, its = models.read(one), models.read(other)
    count = bits = steps = 0
    for name in mine:
        left, right = (np.frombuffer(found[name][1], np.uint16) for found in (mine, its))
        apart = np.abs(_ordinals(left) - _ordinals(right))
        count, bits, steps = count + apart.size, bits + int((apart > 0).sum()), steps + int((apart > 1).sum())
    return bits / count, steps / count


def off_the_rule(work: Path, made: Path) -> float:
    """Return which share of one tensor of bf16 is not what TIES makes of it, where of equal magnitudes all are kept."""
    base, one, two = (_values(work / name / peers.MODEL) for name in ("base", "one", "two"))
    expected = bf16(rule(base, [one, two], DENSITY).astype(np.float32))
    return float((bf16(_values(made).astype(np.float32)) != expected).mean())


def _values(path: Path) -> Floats:
    """Return the values of one tensor of bf16."""
    found: Floats = widened(np.frombuffer(models.read(path)[SAMPLE][1], np.uint16)).astype(np.float64)
    return found


def _ordinals(bits: Bits) -> npt.NDArray[np.int32]:
    places = (bits & np.uint16(0x7FFF)).astype(np.int32)
    return np.where(bits >> np.uint16(15), -places, places)


def rule(base: Floats, sides: Sequence[Floats], density: float) -> Floats:
    """Return TIES with equal weights (arXiv 2306.01708, algorithm 1), where no magnitudes are equal."""
    kept = []
    for side in sides:
        change = side - base
        least = np.sort(np.abs(change))[-round(density * change.size)]
        kept.append(np.where(np.abs(change) >= least, change, 0.0))
    changes = np.stack(kept)
    agreeing = np.where(np.sign(changes) == np.sign(changes.sum(axis=0)), changes, 0.0)
    mean: Floats = agreeing.sum(axis=0) / np.maximum((agreeing != 0).sum(axis=0), 1)
    return base + mean


def exact_models() -> tuple[Floats, list[Floats]]:
    """Return a base and two fine-tunes whose changes are all different and exact in float32, and never sum to zero."""
    draw = np.random.default_rng(1)
    count = EXACT_ELEMENTS
    base = draw.integers(-(1 << 20), 1 << 20, count).astype(np.float64) * STEP
    changes: list[Floats] = [
        (2 * draw.permutation(count) + odd + 1) * draw.choice([-1, 1], count) * STEP for odd in (0, 1)
    ]
    return base, [base + change for change in changes]


def against_rule(work: Path) -> list[Row]:
    """Return how far TIES is from the rule on such models, in steps of float32."""
    base, sides = exact_models()
    for name, values in zip(("base", "one", "two"), (base, *sides), strict=True):
        (work / name).mkdir(parents=True)
        _write_exact(work / name / peers.MODEL, values)
    recipe, out = work / "ties.yml", work / peers.MODEL
    recipe.write_text(recipes(work, "float32")["ties"])
    measure.run(ours(recipe, out), ROOT, os.environ)
    [(_, data)] = models.read(out).values()
    made, expected = np.frombuffer(data, np.float32), rule(base, sides, DENSITY).astype(np.float32)
    steps = np.abs(made.view(np.int32).astype(np.int64) - expected.view(np.int32))
    return [
        Row("exactness", "lamella", "farthest from the rule", float(steps[made != expected].max(initial=0)), "ulp", 1.0)
    ]


def _write_exact(path: Path, values: Floats) -> None:
    data = values.astype(np.float32)
    if (data != values).any():
        raise ValueError("the values are not exact")
    header = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [data.size], "data_offsets": [0, data.nbytes]}})
    text = header.encode() + b" " * (-len(header) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data.tobytes())


def version_of(program: Path) -> str:
    """Return the version of the mergekit that a program belongs to, which does not tell it itself."""
    asked = "import importlib.metadata as m; print(m.version('mergekit'), 'torch', m.version('torch'))"
    interpreter = program.absolute().with_name("python")
    return subprocess.run([interpreter, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merging", description=__doc__)
    parser.add_argument("--mergekit", type=Path, help="the program mergekit-yaml")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="blocks of the models")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs; medians are shown")
    parser.add_argument("--work", type=Path, default=ROOT / "bench-run", help="where the files are made")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        work = Path(folder).resolve()
        found += against_rule(work / "exact")
        print(report.table(found), flush=True)
        weights = whole_decoder(given.blocks)
        for number, name in enumerate(("base", "one", "two")):
            (work / name).mkdir()
            models.write(work / name / peers.MODEL, weights, partial(tuned, number=number))
            (work / name / "config.json").write_text(json.dumps(configuration(given.blocks)))
        print(f"3 x {(work / 'base' / peers.MODEL).stat().st_size / MEGABYTE:.0f} MB of bf16")
        for case, text in recipes(work, "bfloat16").items():
            print(f"\n{case}", flush=True)
            recipe, mine, its = work / f"{case}.yml", work / "mine.safetensors", work / "its"
            recipe.write_text(text)
            contenders = {"lamella": ours(recipe, mine)}
            if given.mergekit is not None:
                contenders["mergekit"] = [os.path.abspath(given.mergekit), str(recipe), str(its)]
            part = costs(case, alternating(contenders, given.rounds))
            if given.mergekit is not None:
                bits, steps = differing(mine, its / peers.MODEL)
                if case == "ties":
                    made = {"lamella": mine, "mergekit": its / peers.MODEL}
                    part += [
                        Row(case, name, "one tensor's off the rule", off_the_rule(work, at), "")
                        for name, at in made.items()
                    ]
                part += [
                    Row(case, "mergekit", "elements that differ from Lamella's", bits, ""),
                    Row(case, "mergekit", "by more than a step of bf16", steps, ""),
                ]
            print(report.table(part), flush=True)
            found += part
    versions = {"mergekit": "absent" if given.mergekit is None else version_of(given.mergekit)}
    return report.conclude("merging", given.output, {"blocks": given.blocks, "rounds": given.rounds}, versions, found)


if __name__ == "__main__":
    sys.exit(main())
