"""A history of a small model, as long as a test wants it, made in a moment: one pack, and one `git fast-import`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy

from lamella.repo.arrayfile import ArrayFile
from lamella.repo.checkin import check_in
from lamella.repo.manifest import Row, write_manifest
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
AUTHOR = "Ada Lovelace <ada@example.org>"


def generate(bench: Workbench, values: Sequence[float], start: str = "main") -> list[str]:
    """Commit a version on the branch `start` for each value, which is the last number in its file; return the commits.

    Subjects are `step 0`, `step 1` and so on. The worktree stays as it is, the index follows.
    """
    with bench.repository() as repository:
        shown = check_in(
            repository.store, ArrayFile({"h.0.w": numpy.zeros(3, "f4"), "z": numpy.zeros(1, "f4")}), []
        ).manifest
        every = {f"{number:08}": numpy.full(1, value, "f4") for number, value in enumerate(values)}
        objects = {row.spec.name: row.object for row in check_in(repository.store, ArrayFile(every), []).manifest.rows}
    stream = []
    for number in range(len(values)):
        first, last = shown.rows
        text = write_manifest(replace(shown, rows=(first, Row(last.spec, objects[f"{number:08}"]))))
        mode = f"M 100644 inline {MODEL}\n".encode()
        at = f"commit refs/heads/{start}\ncommitter {AUTHOR} {1_700_000_000 + number} +0000\n".encode()
        message = f"step {number}".encode()
        before = b"" if number else f"from refs/heads/{start}^0\n".encode()
        stream.append(b"%sdata %d\n%s\n%s%sdata %d\n%s\n" % (at, len(message), message, before, mode, len(text), text))
    bench.git("fast-import", "--quiet", given=b"".join(stream).decode())
    bench.git("reset", "--quiet")
    return bench.git("rev-list", "--reverse", f"--max-count={len(values)}", start).split()
