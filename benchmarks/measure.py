"""The cost of a command as a whole: wall time, processor time, and the peak of its processes' anonymous memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLING_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took, all its processes together; the memory is None where the system does not tell."""

    wall_seconds: float
    cpu_seconds: float
    anonymous_nbytes: int | None


class CommandError(Exception):
    """A measured command failed, so its cost means nothing."""


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Cost:
    """Run `command` in `directory` to its end; raise CommandError with its own words where it fails."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        sampler = _Sampler(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak_nbytes = sampler.stop()
        if process.returncode:
            said.seek(0)
            words = said.read().decode("utf-8", "replace")[-2000:]
            raise CommandError(f"{' '.join(command)} (exit status {process.returncode}): {words}")
    return Cost(wall_seconds, usage.ru_utime + usage.ru_stime, peak_nbytes)


def in_turn(costs: Iterable[Cost]) -> Cost:
    """Return the cost of commands run one after another."""
    listed = list(costs)
    return Cost(sum(cost.wall_seconds for cost in listed), sum(cost.cpu_seconds for cost in listed), _highest(listed))


def typical(costs: Iterable[Cost]) -> Cost:
    """Return the median of the times and the highest memory of runs of the same command."""
    listed = list(costs)
    return Cost(
        statistics.median(cost.wall_seconds for cost in listed),
        statistics.median(cost.cpu_seconds for cost in listed),
        _highest(listed),
    )


def _highest(costs: list[Cost]) -> int | None:
    return max((cost.anonymous_nbytes for cost in costs if cost.anonymous_nbytes is not None), default=None)


def stored_nbytes(directory: Path, *, without: str) -> int:
    """Return the bytes on the disk that the files under `directory` take, each once, but for the one at `without`."""
    blocks: dict[int, int] = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path != directory / without:
                status = path.lstat()
                blocks[status.st_ino] = status.st_blocks
    return 512 * sum(blocks.values())


class _Sampler:
    """A thread that watches the anonymous memory of a process and of all its descendants.

    Pages of files do not count: the kernel drops them when others need the memory.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_nbytes: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int | None:
        """Return the peak in bytes."""
        self._over.set()
        self._thread.join()
        return self._peak_nbytes

    def _watch(self) -> None:
        while not self._over.is_set():
            nbytes = _anonymous_nbytes(self._pid)
            if nbytes is not None:
                self._peak_nbytes = max(self._peak_nbytes or 0, nbytes)
            self._over.wait(SAMPLING_SECONDS)


def _anonymous_nbytes(pid: int, parents_space: int | None = None) -> int | None:
    """Return the anonymous bytes of a process tree, None where the process is gone or the system has no such count.

    A child in its parent's address space, `parents_space` kilobytes large, is about to run another program.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        tasks = os.listdir(f"/proc/{pid}/task")
        children = [Path(f"/proc/{pid}/task/{task}/children").read_text().split() for task in tasks]
    except OSError:
        return None
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in status.splitlines() if line.endswith(" kB")}
    if "RssAnon" not in kilobytes:
        return None
    space = int(kilobytes["VmSize"])
    own_nbytes = 0 if space == parents_space else 1024 * int(kilobytes["RssAnon"])
    below = (_anonymous_nbytes(int(child), space) for listed in children for child in listed)
    return own_nbytes + sum(nbytes for nbytes in below if nbytes is not None)
