"""The benchmark of the foundation: start-up, one large fine-tune, a series of them, and a long history."""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import measure, models, peers, report
from benchmarks.measure import Cost
from benchmarks.peers import MODEL, Contender
from benchmarks.report import Row
from benchmarks.trials import Trial, alternating, workplace

if TYPE_CHECKING:
    from lamella import Repo

MEGABYTE = 10**6
IDENTITY = (("git", "config", "user.name", "Bench"), ("git", "config", "user.email", "bench@example.org"))
SERIES_STEPS = (0, 20, 40, 60)

MOST_STARTUP_RATIO = 3.0
MOST_STATUS_SECONDS = 0.3
MOST_PEAK_MEGABYTES = 256.0
MOST_STORED_SHARE = 0.35
MOST_HISTORY_SECONDS = 1.0
SLOWER = {"add": ("git-lfs", "dvc", "borg", "restic"), "checkout": ("git-lfs", "borg", "restic")}
"""Who must take longer than we do; DVC's checkout copies a file that it keeps as it is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the sections share: who takes part, where they work, and how much they are given."""

    contenders: list[Contender]
    work: Path
    size_nbytes: int
    rounds: int
    commits: int
    series: Path | None

    @property
    def lamella(self) -> Contender:
        """Ourselves; raise LookupError where the command is not installed."""
        return next((one for one in self.contenders if one.name == "lamella"), None) or _missing()


def _missing() -> Contender:
    raise LookupError("the lamella command is not installed beside this Python; name it with --lamella")


def pair(setting: Setting) -> list[Path]:
    """Return the large base and its fine-tune, made where they are missing."""
    megabytes = setting.size_nbytes // MEGABYTE
    paths = [setting.work / f"{name}-{megabytes}.safetensors" for name in ("base", "tune")]
    for path, values in zip(paths, (models.initial, models.perturbed), strict=True):
        if not path.exists():
            partial = path.with_suffix(".partial")
            models.write(partial, models.transformer(setting.size_nbytes), values)
            partial.rename(path)
    return paths


def startup(setting: Setting) -> list[Row]:
    """Measure the shortest commands: `version` against a bare interpreter, and `status` with nothing changed."""
    ours = setting.lamella
    program = ours.add[0][0]
    with workplace(setting.work) as place:
        place.run(ours.prepare, 0)
        place.store(ours, pair(setting)[0], 0)
        commands = {"python -c pass": [sys.executable, "-c", "pass"], "version": [program, "version"]}
        commands["status"] = [program, "status"]
        costs: dict[str, list[Cost]] = {what: [] for what in commands}
        for _ in range(20):
            for what, command in commands.items():
                costs[what].append(measure.run(command, place.directory, place.environment))
    seconds = {what: measure.typical(listed).wall_seconds for what, listed in costs.items()}
    ratio = seconds["version"] / seconds["python -c pass"]
    return [
        Row("startup", "python", "-c pass", seconds["python -c pass"], "s"),
        Row("startup", "lamella", "version", seconds["version"], "s"),
        Row("startup", "lamella", "version / python", ratio, "x", MOST_STARTUP_RATIO),
        Row("startup", "lamella", "status", seconds["status"], "s", MOST_STATUS_SECONDS),
    ]


def large(setting: Setting) -> list[Row]:
    """Measure `add` and `checkout` of one large fine-tune whose base is stored."""
    versions = pair(setting)
    trials = alternating(setting.contenders, versions, setting.work, setting.rounds)
    by_name = {contender.name: listed for contender, listed in zip(setting.contenders, trials, strict=True)}
    rows = []
    for name, listed in by_name.items():
        for step in _steps(listed[0]):
            costs, yardstick = ([_steps(one)[step] for one in some] for some in (listed, by_name["cp"]))
            rows += _costs(name, step, costs, yardstick)
        rows += _sizes("large", name, listed[-1], versions)
    return [_bounded(row, rows) for row in rows]


def _bounded(row: Row, rows: list[Row]) -> Row:
    """Return our own time with the fastest one of those that must take longer as its bound, and other rows as is."""
    if row.contender != "lamella" or row.unit != "s" or row.measure not in SLOWER:
        return row
    theirs = [
        one.value
        for one in rows
        if one.contender in SLOWER[row.measure] and (one.measure, one.unit) == (row.measure, row.unit)
    ]
    return replace(row, bound=min(theirs, default=None))


def _steps(one: Trial) -> dict[str, Cost]:
    return {"add base": one.adds[0], "add": one.adds[-1], "checkout": one.checkout}


def _costs(name: str, step: str, costs: list[Cost], yardstick: list[Cost]) -> list[Row]:
    cost = measure.typical(costs)
    ratios = [one.wall_seconds / other.wall_seconds for one, other in zip(costs, yardstick, strict=True)]
    rows = [
        Row("large", name, step, cost.wall_seconds, "s"),
        Row("large", name, step, statistics.median(ratios), "x cp"),
        Row("large", name, step, cost.cpu_seconds, "cpu s"),
    ]
    if cost.anonymous_nbytes is not None:
        bound = MOST_PEAK_MEGABYTES if name == "lamella" else None
        rows.append(Row("large", name, step, cost.anonymous_nbytes / MEGABYTE, "MB", bound))
    return rows


def _sizes(section: str, name: str, one: Trial, versions: Sequence[Path]) -> list[Row]:
    given = sum(path.stat().st_size for path in versions)
    return [
        Row(section, name, "stored", one.stored_nbytes / MEGABYTE, "MB"),
        Row(section, name, "stored / given", one.stored_nbytes / given, "x"),
    ]


def series(setting: Setting) -> list[Row]:
    """Measure what a base and three fine-tunes of it take on the disk."""
    names = [f"bf16-{steps}.safetensors" for steps in SERIES_STEPS]
    if setting.series is not None:
        versions = [setting.series / name for name in names]
        print("  a real series")
    else:
        print("  a simulated series: name a real one with --series")
        versions = [setting.work / name for name in names]
        for path, steps in zip(versions, SERIES_STEPS, strict=True):
            models.write(path, models.encoder(), functools.partial(models.trained, steps=steps))
    trials = alternating(setting.contenders, versions, setting.work, rounds=1)
    rows = [
        row
        for contender, listed in zip(setting.contenders, trials, strict=True)
        for row in _sizes("series", contender.name, listed[-1], versions)
    ]
    return [
        replace(row, bound=MOST_STORED_SHARE) if row.contender == "lamella" and row.unit == "x" else row for row in rows
    ]


def history(setting: Setting) -> list[Row]:
    """Measure a repository after many small commits: how it answers, and how many files hold it."""
    from lamella import Repo

    ours = setting.lamella
    program = ours.add[0][0]
    middle = f"HEAD~{setting.commits // 2}"
    with workplace(setting.work) as place:
        place.run((*ours.prepare, *IDENTITY), 0)
        seconds = _commit_often(Repo.open(place.directory), setting.commits)
        rows = [Row("history", "lamella", "commit", 1000 * seconds / setting.commits, "ms")]
        for what, *words in (("log", "log"), ("to middle", "checkout", middle), ("to tip", "checkout", "main")):
            rows.append(
                Row(
                    "history",
                    "lamella",
                    what,
                    place.run(((program, *words),), 0).wall_seconds,
                    "s",
                    MOST_HISTORY_SECONDS,
                )
            )
        models.write(place.model, models.encoder()[-1:], models.initial)
        rows.append(Row("history", "lamella", "add", place.run(ours.add, 0).wall_seconds, "s", MOST_HISTORY_SECONDS))
        files = sum(path.is_file() for path in (place.directory / ".git/lamella").rglob("*"))
        nbytes = measure.stored_nbytes(place.directory, without=MODEL)
    return [
        *rows,
        Row("history", "lamella", "store", files, "files"),
        Row("history", "lamella", "store", nbytes / MEGABYTE, "MB"),
    ]


def _commit_often(repository: Repo, commits: int) -> float:
    """Commit a tiny model so often, one of its four tensors changed each time, and return the seconds that took."""
    generator = np.random.default_rng(0)
    shape = (64, 64)
    weights = {f"layer.{number}.weight": generator.standard_normal(shape, dtype=np.float32) for number in range(4)}
    began = time.perf_counter()
    for number in range(commits):
        changed = f"layer.{number % len(weights)}.weight"
        weights[changed] = weights[changed] + np.float32(1e-3) * generator.standard_normal(shape, dtype=np.float32)
        repository.commit(weights, path=MODEL, message=f"step {number}")
        if (number + 1) % max(1, commits // 10) == 0:
            print(f"  {number + 1} of {commits} commits in {time.perf_counter() - began:.0f} s", flush=True)
    return time.perf_counter() - began


SECTIONS: dict[str, Callable[[Setting], list[Row]]] = {
    "startup": startup,
    "large": large,
    "series": series,
    "history": history,
}


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.foundation", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"what to measure, of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--size-mb", type=int, default=1000, help="size of the large model in 10**6 bytes")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs; medians are shown")
    parser.add_argument("--commits", type=int, default=10_000, help="length of the history")
    parser.add_argument("--series", type=Path, help="folder with bf16-0, -20, -40 and -60.safetensors of one training")
    parser.add_argument("--work", type=Path, default=report.ROOT / "bench-run", help="where the files are made")
    parser.add_argument("--only", nargs="+", choices=peers.MAKERS, help="contenders, beside cp; all by default")
    parser.add_argument("--dvc", default="dvc", help="the dvc program")
    parser.add_argument("--lamella", default=Path(sys.executable).with_name("lamella"), help="the lamella program")
    parser.add_argument("--output", type=Path, help="the JSON to write; under benchmarks/results by default")
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections, print their tables, write the JSON, and return 1 where a promised bound was missed."""
    given = options(arguments)
    present, absent = peers.found({"dvc": given.dvc, "lamella": str(given.lamella)})
    if given.only:
        present = [one for one in present if one.name in {"cp", *given.only}]
    versions = {one.name: one.version for one in present} | dict.fromkeys(absent, "absent")
    print("contenders:", ", ".join(f"{name} {version}" for name, version in versions.items()))
    given.work.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        size = given.size_mb * MEGABYTE
        setting = Setting(present, Path(work), size, given.rounds, given.commits, given.series)
        for name in given.sections or SECTIONS:
            print(f"\n{name}", flush=True)
            found = SECTIONS[name](setting)
            print(report.table(found), flush=True)
            rows += found
    chosen = {
        "size_mb": given.size_mb,
        "rounds": given.rounds,
        "commits": given.commits,
        "series": "real" if given.series else "simulated",
    }
    return report.conclude("foundation", given.output, chosen, versions, rows)


if __name__ == "__main__":
    sys.exit(main())
