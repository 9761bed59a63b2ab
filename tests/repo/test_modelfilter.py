"""What Git's filter does to files, without Git: in and out again, and everything that is no model."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator

import pytest

from lamella.core import fsio
from lamella.core.errors import BackendError, ConflictError, FormatError, IntegrityError
from lamella.repo.git import Git
from lamella.repo.manifest import parse_manifest
from lamella.repo.modelfilter import Clean, ModelFilter, Smudge
from lamella.repo.repository import Repository
from lamella.testing.models import model, network, spec

PATH = "model.safetensors"


class Given:
    """Content as Git gives it: in pieces, once."""

    def __init__(self, data: bytes, piece_nbytes: int = 65_516) -> None:
        self._data = memoryview(data)
        self._piece_nbytes = piece_nbytes

    def read(self, nbytes: int = -1) -> bytes:
        taken = self._data if nbytes < 0 else self._data[:nbytes]
        self._data = self._data[len(taken) :]
        return bytes(taken)

    def __iter__(self) -> Iterator[memoryview]:
        while piece := self.read(self._piece_nbytes):
            yield memoryview(piece)


@pytest.fixture
def repository(git_repository: Git) -> Iterator[Repository]:
    with Repository(git_repository) as repository:
        yield repository


class Harness:
    """A filter with what it warned of."""

    def __init__(self, repository: Repository, clean: Clean, smudge: Smudge) -> None:
        self.warnings: list[tuple[str, str]] = []
        warn = lambda path, sentence: self.warnings.append((path, sentence))  # noqa: E731
        self._filter = ModelFilter(repository, clean, smudge, warn)

    def clean(self, data: bytes) -> bytes:
        return b"".join(bytes(piece) for piece in self._filter.clean(PATH, Given(data)))

    def smudge(self, data: bytes) -> bytes:
        return b"".join(bytes(piece) for piece in self._filter.smudge(PATH, Given(data)))


@pytest.fixture
def make(repository: Repository):
    def make(clean: Clean = Clean.STORE, smudge: Smudge = Smudge.FILL) -> Harness:
        return Harness(repository, clean, smudge)

    return make


FILES = {
    "a model": network(),
    "a model with large tensors": model([spec("wide", 300_001), spec("byte", 7, dtype="u8")]),
    "a cut model": network()[:-5],
    "noise": random.Random(0).randbytes(2_500_000),
    "zeros": bytes(1_000_001),
    "a byte": b"x",
    "half the first line of a manifest": b"lamella mani",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_what_went_in_comes_out(make, content):
    harness = make()
    text = harness.clean(content)
    assert text.startswith(b"lamella manifest 1\n")
    assert harness.smudge(text) == content
    assert harness.clean(content) == text


def test_an_empty_file_stays_empty(make):
    assert make().clean(b"") == b""
    assert make().smudge(b"") == b""


def test_a_manifest_stays_as_it_is_in_both_directions(make, repository):
    text = make().clean(network())
    count = repository.store.index.count()
    assert make().clean(text) == text
    assert make(smudge=Smudge.MANIFEST).smudge(text) == text
    assert repository.store.index.count() == count


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_identifying_stores_nothing_and_gives_the_same_text(make, repository, content):
    text = make(Clean.IDENTIFY).clean(content)
    assert repository.store.index.count() == 0
    assert make().clean(content) == text


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
@pytest.mark.parametrize("smudge", Smudge)
def test_what_is_no_manifest_passes_unchanged(make, repository, content, smudge):
    assert make(smudge=smudge).smudge(content) == content
    assert not list(repository.store.temporary.iterdir())


def test_a_model_whose_weights_are_not_here_stays_a_manifest_with_a_warning(make, repository):
    text = make(Clean.IDENTIFY).clean(network())
    harness = make()
    assert harness.smudge(text) == text
    assert harness.warnings == [
        (PATH, "its weights are not in this repository's store; the manifest stands in its place")
    ]


def test_damaged_weights_do_not_pass(make, repository):
    harness = make()
    text = harness.clean(network())
    (pack,) = repository.store.packs.iterdir()
    content = bytearray(pack.read_bytes())
    entry = repository.store.index.find(parse_manifest(text).rows[3].object)[0][1]
    content[entry.offset + entry.head_nbytes] ^= 1
    pack.write_bytes(content)
    with pytest.raises(IntegrityError):
        harness.smudge(text)


def test_a_lying_model_is_told(make):
    harness = make()
    harness.clean(network()[:-5])
    ((path, sentence),) = harness.warnings
    assert path == PATH
    assert sentence.endswith("; it is kept as plain bytes")


def marked(text: bytes) -> bytes:
    return text.replace(b"skeleton\n", b"<<<<<<< HEAD\nskeleton\n=======\nskeleton\n>>>>>>> side\n")


def test_a_manifest_in_conflict_passes_out(make):
    text = marked(make().clean(network()))
    assert make().smudge(text) == text


def test_a_manifest_in_conflict_passes_in_where_git_only_looks(make):
    text = marked(make().clean(network()))
    for clean in Clean:
        harness = make(clean)
        assert harness.clean(text) == text
        assert harness.warnings == [(PATH, f"{PATH} still has the conflict markers of a merge")]


def test_a_manifest_in_conflict_is_refused_where_git_is_about_to_keep_it(make, git_repository):
    text = make().clean(network())
    (git_repository.git_dir / "index.lock").touch()
    with pytest.raises(ConflictError) as caught:
        make().clean(marked(text))
    assert caught.value.kind == "manifest-conflict"
    with pytest.raises(FormatError):
        make().clean(text[:-1])
    assert make(Clean.IDENTIFY).clean(marked(text)) == marked(text)


def test_a_newer_manifest_passes_in_and_is_refused_out(make, git_repository):
    text = make().clean(network()).replace(b"manifest 1", b"manifest 2", 1)
    (git_repository.git_dir / "index.lock").touch()
    assert make().clean(text) == text
    assert make(smudge=Smudge.MANIFEST).smudge(text) == text
    with pytest.raises(FormatError) as caught:
        make().smudge(text)
    assert (caught.value.kind, caught.value.hint) == ("manifest-version", "upgrade lamella")


def test_a_full_disk_is_told_and_leaves_nothing(make, repository):
    def refuse(operation: str, path: str) -> None:
        if operation == "create":
            raise OSError(errno.ENOSPC, "No space left on device")

    with fsio.observe(refuse), pytest.raises(BackendError) as caught:
        make().clean(network())
    assert caught.value.kind == "no-space"
    assert repository.store.index.count() == 0


def test_a_new_version_leans_on_the_one_in_the_index(make, git_repository, repository):
    first, second = (model([spec("wide", 60_000)], {"wide": 0}) for _ in range(2))
    second = bytearray(second)
    second[-4:] = b"next"
    text = make().clean(first)
    oid = git_repository.run("hash-object", "-w", "--stdin", input=text).decode().strip()
    git_repository.run("update-index", "--add", "--cacheinfo", f"100644,{oid},{PATH}")
    manifest = parse_manifest(make().clean(bytes(second)))
    assert repository.store.open(manifest.rows[0].object).head.depth == 1
