"""The codec beside others: size and single-thread speed on the versions of a training, all in one run.

Every contender gets one tensor after another, encodes it alone or against the version before, and decodes it again;
what comes out is compared with what went in. Sizes are exact, speeds are the best of the rounds.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import coders, models, report
from benchmarks.coders import Coder, Tensor
from benchmarks.report import Row

PAIRS = ((40, 60), (0, 60), (1, 2))
MOST = {
    "bf16": (0.068, 0.104, 0.030, 0.672),
    "fp16": (0.165, 0.222, 0.082, 0.852),
    "fp32": (0.372, 0.420, 0.245, 0.834),
}
"""What is promised of the share of the original, for each pair and alone, on a series of the usual settings."""
DTYPES = {"BF16": ("bf16", 2), "F16": ("f16", 2), "F32": ("f32", 4)}
LEAST_ITEMS = 4096
"""Smaller tensors are left out: they are a thousandth of the bytes, and all of the overhead."""


def tensors(old: Path, new: Path) -> list[Tensor]:
    """Return the float tensors of `new` with those of the same name in `old`."""
    before = models.read(old)
    found = []
    for name, (dtype, data) in models.read(new).items():
        if dtype in DTYPES and name in before and len(before[name][1]) == len(data):
            named, item_nbytes = DTYPES[dtype]
            if len(data) >= LEAST_ITEMS * item_nbytes:
                found.append(Tensor(named, item_nbytes, data, before[name][1]))
    return found


def measured(coder: Coder, listed: Sequence[Tensor], rounds: int) -> tuple[int, float, float]:
    """Return the bytes that all tensors take, and the fewest seconds that encoding and decoding took."""
    nbytes, encoding, decoding = 0, [0.0] * rounds, [0.0] * rounds
    room = memoryview(bytearray(max(len(tensor.data) for tensor in listed)))
    for tensor in listed:
        for number in range(rounds):
            began = time.perf_counter()
            kept, kept_nbytes = coder.encode(tensor)
            between = time.perf_counter()
            back = coder.decode(tensor, kept, room[: len(tensor.data)])
            decoding[number] += time.perf_counter() - between
            encoding[number] += between - began
        if back != tensor.data:
            raise ValueError(f"{coder.name} did not return what it was given")
        nbytes += kept_nbytes
    return nbytes, min(encoding), min(decoding)


def rows(
    section: str, contenders: Sequence[Coder], listed: Sequence[Tensor], rounds: int, most: float | None
) -> list[Row]:
    """Return the size and the speeds of every contender on these tensors."""
    total = sum(len(tensor.data) for tensor in listed)
    found = []
    for coder in contenders:
        nbytes, encoding, decoding = measured(coder, listed, rounds)
        bound = most if coder.name.startswith("lamella") else None
        found += [
            Row(section, coder.name, "size", nbytes / total, "of original", bound),
            Row(section, coder.name, "encode", total / encoding / 1e9, "GB/s"),
            Row(section, coder.name, "decode", total / decoding / 1e9, "GB/s"),
        ]
    return found


def simulated(directory: Path) -> None:
    """Write a simulated bf16 series, for where no real one is given."""
    for steps in sorted({step for pair in PAIRS for step in pair}):
        path = directory / f"bf16-{steps}.safetensors"
        models.write(path, models.encoder(), functools.partial(models.trained, steps=steps))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the JSON, and return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=__doc__)
    parser.add_argument("--series", type=Path, help="folder with DTYPE-STEP.safetensors at steps 0, 1, 2, 40 and 60")
    parser.add_argument("--dtypes", nargs="+", default=list(MOST), choices=list(MOST))
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs; the best is shown")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    against, alone = coders.against_a_base(), coders.by_themselves()
    copying = coders.memcpy()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        series = given.series or Path(made)
        dtypes = given.dtypes if given.series else ["bf16"]
        if not given.series:
            print("a simulated series: name a real one with --series")
            simulated(series)
        for dtype in dtypes:
            paths = {step: series / f"{dtype}-{step}.safetensors" for pair in PAIRS for step in pair}
            cases = [
                (f"{dtype} {old}->{new}", [*against, copying], tensors(paths[old], paths[new]), most)
                for (old, new), most in zip(PAIRS, MOST[dtype], strict=False)
            ]
            cases.append((f"{dtype} alone", [*alone, copying], cases[0][2], MOST[dtype][-1]))
            for section, contenders, listed, most in cases:
                print(f"\n{section}", flush=True)
                part = rows(section, contenders, listed, given.rounds, most if given.series else None)
                print(report.table(part), flush=True)
                found += part
    versions = {coder.name: coder.version for coder in [*against, *alone, copying]}
    versions.setdefault("ZipNN", "absent")
    options = {"rounds": given.rounds, "series": "real" if given.series else "simulated"}
    return report.conclude("codec", given.output, options, versions, found)


if __name__ == "__main__":
    sys.exit(main())
