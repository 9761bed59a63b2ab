"""Whole series: Adam's moments, a network and an adapter trained here, quantised weights, and 50 checkpoints kept."""

from __future__ import annotations

import argparse
import filecmp
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy

from benchmarks import codec, coders, measure, models, moments, peers, report, training
from benchmarks.coders import Coder, Tensor
from benchmarks.foundation import IDENTITY, MEGABYTE
from benchmarks.peers import MODEL, Contender
from benchmarks.report import Row
from benchmarks.trials import Workplace, workplace
from lamella.codec.builtin import PALETTE, PLANES

PAIRS = ((0, 1), (24, 25), (48, 49), (0, 49))
"""Checkpoints that are measured against each other: neighbours early, midway and late, and the two ends."""
MOST_RESTORE_RATIO = 2.0
QUANTISED_SHAPE = (2048, 1024)
QUANTISED = ((8, 1 << 21, "f32"), (8, 1024, "f32"), (8, 1024, "bf16"), (4, 64, "f32"), (4, 64, "bf16"), (4, 64, "f16"))
"""The bits of the integers, how many items share a scale, and what they are widened to."""
DTYPE_OF = {"f32": numpy.float32, "f16": numpy.float16, "bf16": ml_dtypes.bfloat16}


@dataclass(frozen=True, slots=True)
class Setting:
    """What the sections share."""

    lamella: Contender
    trained: Path
    moments: Path | None
    work: Path
    rounds: int


def of_moments(setting: Setting) -> list[Row]:
    """Measure the moments of the given training, where there are any."""
    if setting.moments is None or not moments.files(setting.moments):
        print("  left out: name a folder with adam-STEP.safetensors with --series")
        return []
    return moments.rows(setting.moments)


def vision(setting: Setting) -> list[Row]:
    """Measure the codec on checkpoints of the network that was trained by SGD with momentum."""
    found = []
    for dtype in ("fp32", "bf16"):
        for pair in PAIRS:
            old, new = (training.vision_path(setting.trained, dtype, number) for number in pair)
            section = f"vision {dtype} {pair[0]}->{pair[1]}"
            found += _compared(section, coders.against_a_base(), old, new, setting.rounds)
        last = training.vision_path(setting.trained, dtype, training.CHECKPOINTS - 1)
        found += _compared(f"vision {dtype} alone", coders.by_themselves(), last, last, setting.rounds)
    return found


def adapter(setting: Setting) -> list[Row]:
    """Measure the codec on a base in bf16 against itself with an adapter merged in."""
    base, merged = (training.adapter_path(setting.trained, merged=merged) for merged in (False, True))
    return [
        *_compared("adapter bf16", coders.against_a_base(), base, merged, setting.rounds),
        *_compared("adapter bf16 alone", coders.by_themselves(), merged, merged, setting.rounds),
    ]


def quantised(setting: Setting) -> list[Row]:
    """Measure the palette on a Gaussian matrix, quantised symmetrically and widened again."""
    found = []
    weight = numpy.random.default_rng(1).normal(0, 0.05, QUANTISED_SHAPE).astype(numpy.float32)
    for bits, group, dtype in QUANTISED:
        groups = weight.reshape(-1, group)
        steps = abs(groups).max(axis=1, keepdims=True) / numpy.float32(2 ** (bits - 1) - 1)
        data = (numpy.rint(groups / steps) * steps).astype(DTYPE_OF[dtype])
        tensor = Tensor(dtype, data.itemsize, memoryview(data.tobytes()), memoryview(bytes(data.nbytes)))
        contenders = [coders.in_chunks(PALETTE), coders.in_chunks(PLANES), *coders.by_themselves()]
        section = f"int{bits}, a scale for {group} items, as {dtype}"
        found += codec.rows(section, contenders, [tensor], setting.rounds, None)
    return found


def _compared(section: str, contenders: Sequence[Coder], old: Path, new: Path, rounds: int) -> list[Row]:
    return codec.rows(section, contenders, codec.tensors(old, new), rounds, None)


def checkpoints(setting: Setting) -> list[Row]:
    """Measure what all checkpoints take in a repository, and how long each of them takes to come back."""
    found = []
    for dtype in ("fp32", "bf16"):
        versions = [training.vision_path(setting.trained, dtype, number) for number in range(training.CHECKPOINTS)]
        section = f"{len(versions)} checkpoints {dtype}"
        print(f"  {section}", flush=True)
        kept = _kept(setting, versions)
        sizes = {name: one.stored_nbytes for name, one in kept.items()} | _encoded(versions)
        given = sum(path.stat().st_size for path in versions)
        for name, nbytes in sizes.items():
            found.append(Row(section, name, "stored", nbytes / MEGABYTE, "MB"))
            found.append(Row(section, name, "stored", nbytes / given, "of original"))
        for name, one in kept.items():
            slowest, first = max(one.seconds), one.seconds[0]
            found += [
                Row(section, name, "restore the first", first, "s"),
                Row(section, name, "restore the slowest", slowest, "s"),
                Row(section, name, "slowest / first", slowest / first, "x", MOST_RESTORE_RATIO),
            ]
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store takes, and the least seconds that each version took to come back from it."""

    stored_nbytes: int
    seconds: tuple[float, ...]


def _kept(setting: Setting, versions: Sequence[Path]) -> dict[str, Kept]:
    """Commit every version, bring all back, repack the store, and bring all back again."""
    ours = setting.lamella
    with workplace(setting.work) as place:
        place.run((*ours.prepare, *IDENTITY), 0)
        for number, source in enumerate(versions):
            place.store(ours, source, number)
        added = _restored(place, setting, versions)
        place.run(((ours.add[0][0], "gc", "--repack"),), 0)
        return {"lamella": added, "lamella, repacked": _restored(place, setting, versions)}


def _restored(place: Workplace, setting: Setting, versions: Sequence[Path]) -> Kept:
    program = setting.lamella.add[0][0]
    os.sync()
    stored = measure.stored_nbytes(place.directory / ".git" / "lamella", without=MODEL)
    seconds = [float("inf")] * len(versions)
    for _ in range(setting.rounds):
        for number, source in enumerate(versions):
            checkout = (program, "checkout", f"main~{len(versions) - 1 - number}")
            # Another version stands there before: the first one comes back after the last.
            seconds[number] = min(seconds[number], place.run((checkout,), 0).wall_seconds)
            if not filecmp.cmp(source, place.model, shallow=False):
                raise measure.CommandError(f"version {number} came back as another file")
    return Kept(stored, tuple(seconds))


def _encoded(versions: Sequence[Path]) -> dict[str, int]:
    """Return what the others make of all versions: ZipNN of each alone, XOR planes of each against the one before."""
    zipnn, planes = coders.zipnn(), coders.xor_planes(3)
    contenders = {f"{planes.name}, in a row": planes} | ({"ZipNN, each alone": zipnn} if zipnn else {})
    sizes = dict.fromkeys(contenders, 0)
    before: dict[str, memoryview] = {}
    for path in versions:
        tensors = models.read(path)
        for name, (dtype, data) in tensors.items():
            kind, item_nbytes = codec.DTYPES.get(dtype, ("", 1))
            tensor = Tensor(kind, item_nbytes, data, before.get(name, memoryview(bytes(len(data)))))
            for contender, coder in contenders.items():
                # Counters and the like are counted as they are.
                sizes[contender] += min(coder.encode(tensor)[1], len(data)) if kind else len(data)
        before = {name: data for name, (_, data) in tensors.items()}
    return sizes


SECTIONS: dict[str, Callable[[Setting], list[Row]]] = {
    "moments": of_moments,
    "vision": vision,
    "adapter": adapter,
    "quantised": quantised,
    "checkpoints": checkpoints,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, measure, print the tables, write the JSON, return 1 where a promised bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"what to measure, of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--series", type=Path, help="folder with the adam-STEP.safetensors of a training")
    parser.add_argument("--work", type=Path, default=report.ROOT / "bench-run", help="where the series is trained")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is timed; the best is shown")
    parser.add_argument("--lamella", default=Path(sys.executable).with_name("lamella"), help="the lamella program")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    given = parser.parse_args(arguments)
    chosen = given.sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    program = os.path.abspath(given.lamella)
    ours = peers.lamella(program, peers.version_of(program))
    setting = Setting(ours, given.work / "trained", given.series, given.work, given.rounds)
    if not set(chosen) <= {"moments", "quantised"} and not training.adapter_path(setting.trained, merged=True).exists():
        print("training")
        training.make(setting.trained)
    found: list[Row] = []
    for name in chosen:
        print(f"\n{name}", flush=True)
        part = SECTIONS[name](setting)
        for section in dict.fromkeys(row.section for row in part):
            print(f"\n{section}\n{report.table([row for row in part if row.section == section])}", flush=True)
        found += part
    others = [*coders.against_a_base(), *coders.by_themselves()]
    versions = {"ZipNN": "absent", "lamella": ours.version} | {one.name: one.version for one in others if one.version}
    options = {"rounds": given.rounds, "series": "real" if given.series else "none"}
    return report.conclude("series", given.output, options, versions, found)


if __name__ == "__main__":
    sys.exit(main())
