"""What a benchmark found: rows of numbers, shown as tables and kept as JSON with the machine and the commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vbmi2", "asimd", "sve")


@dataclass(frozen=True, slots=True)
class Row:
    """One number: in which section, of whom, of what, in which unit, and the most it may be where that is promised."""

    section: str
    contender: str
    measure: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the number is within its bound."""
        return self.bound is None or self.value <= self.bound


def table(rows: Sequence[Row]) -> str:
    """Return the rows of one section as text, a measure a line and a contender a column; `!` marks a missed bound."""
    contenders = list(dict.fromkeys(row.contender for row in rows))
    cells = {(row.measure, row.unit, row.contender): row for row in rows}
    lines = [["", "", *contenders]]
    for measure, unit in dict.fromkeys((row.measure, row.unit) for row in rows):
        lines.append([measure, unit, *(_cell(cells.get((measure, unit, contender))) for contender in contenders)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:], widths[2:])]) for line in lines
    )


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    number = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
    return number if row.kept else f"{number}!"


def machine() -> dict[str, object]:
    """Return what the numbers depend on, and nothing that tells whose machine it is."""
    names, flags = _processor()
    return {
        "processor": names,
        "vector_flags": flags,
        "cores": os.cpu_count(),
        "memory_nbytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> tuple[str, list[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return facts.get("model name", platform.machine()), [flag for flag in VECTOR_FLAGS if flag in flags]


def commit() -> str:
    """Return the commit that was measured, with a plus where the worktree differs from it."""
    asked = (["git", "rev-parse", "--short=12", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    head, changes = (subprocess.run(c, cwd=ROOT, capture_output=True, text=True, check=False).stdout for c in asked)
    return f"{head.strip() or 'unknown'}{'+' if changes.strip() else ''}"


def write(path: Path, title: str, options: dict[str, object], versions: dict[str, str], rows: Iterable[Row]) -> None:
    """Write the rows to the JSON file at `path`, with all that is needed to measure them again."""
    report = {
        "title": title,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "options": options,
        "versions": versions,
        "rows": [asdict(row) | {"value": float(f"{row.value:.5g}")} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def conclude(
    title: str, path: Path | None, options: dict[str, object], versions: dict[str, str], rows: Sequence[Row]
) -> int:
    """Write the JSON, under benchmarks/results by default, name the missed bounds, and return 1 where there are any."""
    output = path or ROOT / f"benchmarks/results/{title}-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json"
    write(output, title, options, versions, rows)
    print(f"\nwritten to {output}")
    missed = [row for row in rows if not row.kept]
    for row in missed:
        print(f"missed: {row.section} {row.measure} is {row.value:.3g} {row.unit}, at most {row.bound:g} is promised")
    return 1 if missed else 0
