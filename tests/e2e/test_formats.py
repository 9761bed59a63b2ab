"""Files of every format, as the real frameworks wrote them, through a repository and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blake3 import blake3

from lamella.formats.builtin import DESCRIBED, FORMATS
from lamella.repo.snapshot import Snapshot

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
FILES = {
    path.relative_to(GOLDEN).as_posix(): path.read_bytes()
    for path in sorted(GOLDEN.rglob("*"))
    if path.is_file() and path.suffix not in (".json", ".md")
}


@pytest.fixture
def golden(bench):
    """Return a repository in which every golden file is committed."""
    bench.lamella("track", *sorted({f"{path.partition('/')[0]}/" for path in FILES}))
    for path, data in FILES.items():
        bench.write(path, data)
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "-m", "every format")
    return bench


@pytest.mark.parametrize("program", ["lamella", "git"])
def test_every_file_comes_back_bit_for_bit(golden, program):
    for path in FILES:
        (golden.root / path).unlink()
    getattr(golden, program)("checkout", "--", ".")
    assert [path for path, data in FILES.items() if golden.read(path) != data] == []
    assert golden.git("status", "--short") == ""
    assert json.loads(golden.lamella("fsck", "--json"))["damage"] == []


def test_every_format_is_told_by_content(golden):
    listed = json.loads(golden.lamella("ls-files", "--json"))["files"]
    assert {file["format"] for file in listed} >= {one.name for one in (*FORMATS, *DESCRIBED)}


def test_git_itself_adds_the_same_as_lamella(golden):
    """The filter sees the same neighbours as `lamella add` does."""
    kept = {path: golden.blob(f":{path}") for path in FILES}
    golden.git("rm", "--quiet", "-r", "--cached", ".")
    golden.git("add", ".")
    assert {path: golden.blob(f":{path}") for path in FILES} == kept


def test_every_tensor_is_read_as_it_was(golden):
    golden.lamella("gc", "--grace-days", "0")
    with golden.repository() as repository:
        for page in sorted(GOLDEN.glob("*.json")):
            for file, tensors in json.loads(page.read_text()).items():
                check_tensors(repository, f"{page.stem}/{file}", tensors)


def check_tensors(repository, path, tensors):
    snapshot = Snapshot(repository.store, repository.manifest("HEAD", path), path)
    found = {
        spec.name: [spec.dtype.name, list(spec.shape), blake3(snapshot.read(spec.name)).hexdigest()]
        for spec in snapshot.specs()
    }
    assert found == tensors, path
