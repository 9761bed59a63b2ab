"""`log` over histories that are longer than what it reads at once."""

from __future__ import annotations

import random

from lamella.core.dtypes import DTYPES
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec
from lamella.ops.log import log
from lamella.repo.git import Git
from lamella.repo.manifest import Manifest, Row, write_manifest
from lamella.repo.repository import Repository

COMMITS, PATHS, VERSIONS = 250, 24, 30


def version(number: int) -> Manifest:
    """Return a model of `number` + 1 tensors, so that no two versions are alike."""
    rows = (Row(TensorSpec(f"w{row}", DTYPES["f32"], (row,)), ObjectId(bytes([row] * 32))) for row in range(number + 1))
    return Manifest("safetensors", None, tuple(rows))


def write_history(git: Git, changes: list[dict[str, int | None]]) -> None:
    """Commit `changes`, the version of each path or None where it is removed, one commit each."""
    stream = []
    for number, files in enumerate(changes):
        subject = f"change {number}"
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000")
        stream.append(f"data {len(subject)}\n{subject}")
        for path, kept in files.items():
            if kept is None:
                stream.append(f"D {path}")
            else:
                text = write_manifest(version(kept)).decode()
                stream.append(f"M 100644 inline {path}\ndata {len(text)}\n{text}")
    git.run("fast-import", "--quiet", input="\n".join([*stream, ""]).encode())


def test_a_long_history_of_many_models_is_told_as_it_was(git_repository: Git) -> None:
    generator = random.Random(0)
    held: dict[str, int] = {}
    changes, expected = [], []
    for number in range(COMMITS):
        files: dict[str, int | None] = {}
        told = []
        for path in sorted(
            generator.sample([f"{path:02}.safetensors" for path in range(PATHS)], generator.randint(0, 9))
        ):
            before = held.get(path)
            after = None if before is not None and generator.random() < 0.2 else generator.randrange(VERSIONS)
            files[path] = after
            if after is None:
                held.pop(path)
                told.append((path, "removed", before + 1, before + 1))
                continue
            held[path] = after
            if before is None:
                told.append((path, "added", after + 1, after + 1))
            elif before != after:
                told.append((path, "changed", after + 1, abs(after - before)))
        changes.append(files)
        expected.append((f"change {number}", told))
    write_history(git_repository, changes)
    with Repository.open(git_repository.root) as repository:
        entries = list(log(repository))
    found = [(e.message, [(f.path, f.what, f.total, len(f.tensors)) for f in e.files]) for e in entries]
    assert found == expected[::-1]
