"""Models of several files, committed, and found again on disk, in HEAD and in Git's index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from lamella.ops.add import add
from lamella.repo.joined_model import Model
from lamella.repo.model_files import model_at
from lamella.repo.targets import opened_model
from tests.e2e.workbench import Workbench

EVERYWHERE = pytest.mark.parametrize("where", ["disk", "HEAD", "index"])


def commit_all(bench: Workbench, files: Mapping[str, bytes]) -> None:
    """Write, add and commit files."""
    for path, content in files.items():
        bench.write(path, content)
    with bench.repository() as repository:
        add(repository, list(files))
    bench.git("commit", "--quiet", "--message", "files")


@contextmanager
def found(bench: Workbench, path: str, where: str) -> Iterator[Model]:
    """Give the model as it is on disk, in HEAD or in Git's index."""
    if where == "disk":
        with opened_model(path, bench.root) as model:
            yield model
    else:
        with bench.repository() as repository:
            yield model_at(repository, "HEAD" if where == "HEAD" else "", path)
