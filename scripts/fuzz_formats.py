"""Fuzz every reader of formats with atheris: only FormatError may escape, in bounded time and memory.

The golden files under tests/golden/formats are where each starts from. Of a format whose files are described by a
neighbour, the neighbour is altered.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "formats"
LONGEST_NBYTES = 1 << 16
SECONDS_AN_INPUT = 10
MEMORY_MIB = 512


@dataclass(frozen=True, slots=True)
class Case:
    """What is fuzzed: the file itself, or the `neighbour` that describes it."""

    format: str
    file: Path
    neighbour: str | None = None


def cases() -> Iterator[Case]:
    """Yield a case for every golden file of some format, and for every neighbour that describes one."""
    from lamella.core.errors import FormatError
    from lamella.formats.base import Beside
    from lamella.formats.builtin import DESCRIBED
    from lamella.formats.file import BytesFile
    from lamella.formats.sniff import claimed_by

    for path in sorted(path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".json"):
        file = BytesFile(path.read_bytes())
        opened: set[str] = set()
        for described in DESCRIBED:
            folder = Folder(path.parent)
            with suppress(FormatError):
                if described.layout(file, Beside(path.name, folder)) is not None:
                    opened |= folder.opened
                    yield from (Case(described.name, path, name) for name in sorted(folder.opened))
        claimed = claimed_by(file)
        if claimed is not None and not opened:
            yield Case(claimed.name, path)


class Folder:
    """The files of a folder as neighbours, one of which may be replaced; it remembers which were opened."""

    def __init__(self, folder: Path, name: str | None = None, data: bytes = b"") -> None:
        self._folder = folder
        self._name, self._data = name, data
        self.opened: set[str] = set()

    def names(self) -> list[str]:
        """Return the names of the files."""
        return sorted(path.name for path in self._folder.iterdir() if path.is_file())

    def open(self, name: str) -> BytesFile | None:  # type: ignore[name-defined]  # noqa: F821
        """Return a file of the folder."""
        from lamella.formats.file import BytesFile

        if name == self._name:
            return BytesFile(self._data)
        if name not in self.names():
            return None
        self.opened.add(name)
        return BytesFile((self._folder / name).read_bytes())


def target(format_name: str, chosen: Sequence[Case]) -> Callable[[bytes], None]:
    """Return what is called with each input: it reads all that can be read of a file."""
    from lamella.core.errors import FormatError
    from lamella.formats.base import Beside, GraphFormat, Layout
    from lamella.formats.builtin import DESCRIBED, FORMATS
    from lamella.formats.file import BytesFile
    from lamella.formats.strided import read_view
    from lamella.testing.formats import check_graph, check_spans, hollow_file, reassembled

    def check(data: bytes, layout: Layout) -> None:
        check_spans(layout)
        assert reassembled(data, layout) == data
        for view in layout.views:
            assert sum(map(len, read_view(BytesFile(data), view))) == view.spec.nbytes

    described = next((one for one in DESCRIBED if one.name == format_name), None)
    if described is not None:
        case = chosen[0]
        whole = case.file.read_bytes()

        def run_described(data: bytes) -> None:
            with suppress(FormatError):
                folder = Folder(case.file.parent, case.neighbour, data)
                layout = described.layout(BytesFile(whole), Beside(case.file.name, folder))
                if layout is not None:
                    check(whole, layout)

        return run_described
    reader = next(one for one in FORMATS if one.name == format_name)

    def run(data: bytes) -> None:
        reader.sniff(data[:4096], len(data))
        with suppress(FormatError):
            reader.metadata(BytesFile(data))
        with suppress(FormatError):
            graph = reader.graph(BytesFile(data)) if isinstance(reader, GraphFormat) else None
            if graph is not None:
                check_graph(graph)
        try:
            layout = reader.layout(BytesFile(data))
        except FormatError:
            return
        check(data, layout)
        assert reader.layout(hollow_file(data, layout)) == layout

    return run


def fuzz(format_name: str, seconds: int) -> None:
    """Fuzz one format in this process, which libFuzzer ends: with 0 where nothing was found."""
    import atheris

    chosen = [case for case in cases() if case.format == format_name]
    run = target(format_name, chosen)
    # Not as they are imported: an editable installation has a loader of its own, which hides them.
    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as corpus:
        for number, case in enumerate(chosen):
            seed = case.file if case.neighbour is None else case.file.parent / case.neighbour
            (Path(corpus) / str(number)).write_bytes(seed.read_bytes()[:LONGEST_NBYTES])
        options = (
            *(f"-max_total_time={seconds}", f"-max_len={LONGEST_NBYTES}", f"-timeout={SECONDS_AN_INPUT}"),
            *(
                f"-rss_limit_mb={MEMORY_MIB}",
                "-verbosity=0",
                "-print_final_stats=1",
                f"-artifact_prefix={format_name}-",
            ),
        )
        atheris.Setup([sys.argv[0], *options, corpus], run)
        atheris.Fuzz()


def _fuzz_apart(format_name: str, seconds: int) -> tuple[str, int, str]:
    command = [sys.executable, __file__, "--one", format_name, "--seconds", str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return format_name, ended.returncode, ended.stdout + ended.stderr


def _stat(output: str, name: str) -> int:
    """Return one of libFuzzer's numbers, 0 where it did not come to say it."""
    return next((int(line.split()[-1]) for line in output.splitlines() if line.startswith(f"stat::{name}")), 0)


def main() -> int:
    """Fuzz every format, some at a time, and return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each format (60)")
    parser.add_argument("--jobs", type=int, default=2, help="formats at a time (2)")
    parser.add_argument("--one", help="fuzz only this format, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.seconds)
        return 0
    known: dict[str, list[Case]] = {}
    for case in cases():
        known.setdefault(case.format, []).append(case)
    from lamella.formats.builtin import DESCRIBED, FORMATS

    lacking = ({one.name for one in FORMATS} | {one.name for one in DESCRIBED}) - known.keys()
    if lacking:
        print(f"no golden file of: {', '.join(sorted(lacking))}")
    failed = bool(lacking)
    began = time.monotonic()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, code, output in pool.map(lambda name: _fuzz_apart(name, arguments.seconds), sorted(known)):
            runs, found = _stat(output, "number_of_executed_units"), _stat(output, "new_units_added")
            sound = code == 0 and found > 0  # else nothing was seen of what the inputs reach
            print(f"{name:24} {runs:>10,} inputs, {found:>5,} kept  {'ok' if sound else 'FAILED'}", flush=True)
            if not sound:
                failed = True
                print(output[-4000:])
    print(f"{len(known)} formats in {time.monotonic() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
