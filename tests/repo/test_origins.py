"""Which version a tensor comes from: through changes, renames of tensors and of files, and merges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import NotFoundError
from lamella.core.ids import ObjectId
from lamella.core.tensors import TensorSpec
from lamella.repo.commits import summaries
from lamella.repo.git import Git
from lamella.repo.manifest import Manifest, Row, write_manifest
from lamella.repo.origins import newest_first, trace
from lamella.repo.repository import Repository
from lamella.repo.versions import Manifests, list_versions

Commit = Callable[..., str]


def text(values: Mapping[str, int]) -> bytes:
    """Return a manifest of tensors that hold the given numbers, as it were."""
    rows = (Row(TensorSpec(name, DTYPES["f32"], (8,)), ObjectId(bytes([n] * 32))) for name, n in values.items())
    return write_manifest(Manifest("safetensors", None, tuple(rows)))


@pytest.fixture
def commit(git_repository: Git) -> Commit:
    """Return a function that commits a version of a file on the current branch, and returns the commit."""

    def make(message: str, path: str = "m.safetensors", **values: int) -> str:
        (git_repository.root / path).write_bytes(text(values))
        git_repository.run("add", "--all")
        git_repository.run("commit", "--quiet", "--allow-empty", "-m", message)
        return git_repository.resolve("HEAD")

    return make


def origins(git: Git, path: str = "m.safetensors") -> dict[str, tuple[str, str]]:
    """Return for each tensor of the file at HEAD the subject of the commit that it comes from, and its name there."""
    with Repository.open(git.root) as repository, repository.reader() as reader:
        versions = list_versions(git, "HEAD", path)
        manifests = Manifests(reader, versions)
        tip = next(iter(versions))
        found = trace(versions, manifests, tip, manifests.rows(tip))
        told = summaries(git, [origin.version.commit for origin in found.values()])
    return {name: (told[origin.version.commit].subject, origin.name) for name, origin in found.items()}


def test_each_tensor_comes_from_the_commit_that_last_changed_it(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1, b=1, c=1)
    commit("two", a=1, b=2, c=1)
    commit("three", a=1, b=2, c=3, d=3)
    assert origins(git_repository) == {
        "a": ("one", "a"), "b": ("two", "b"), "c": ("three", "c"), "d": ("three", "d")
    }  # fmt: skip


def test_a_value_that_came_back_comes_from_the_commit_that_brought_it_back(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1, b=1)
    commit("two", a=2, b=1)
    commit("three", a=1, b=1)
    assert origins(git_repository) == {"a": ("three", "a"), "b": ("one", "b")}


def test_a_renamed_tensor_is_followed_where_nothing_else_is_like_it(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1, b=2, c=2)
    commit("two", new=1, other=2, another=2)
    assert origins(git_repository) == {"new": ("one", "a"), "other": ("two", "other"), "another": ("two", "another")}


def test_tensors_that_took_each_other_s_names_are_followed(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1, b=2, c=3)
    commit("two", a=2, b=1, c=4)
    assert origins(git_repository) == {"a": ("one", "b"), "b": ("one", "a"), "c": ("two", "c")}


def test_a_copy_of_a_tensor_that_stays_is_new(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1)
    commit("two", a=1, b=1)
    assert origins(git_repository)["b"] == ("two", "b")


def test_a_renamed_file_is_followed(git_repository: Git, commit: Commit) -> None:
    commit("one", "old.pt", a=1, b=1, c=1, d=1)
    commit("two", "old.pt", a=1, b=2, c=1, d=1)
    (git_repository.root / "old.pt").unlink()
    commit("three", a=1, b=2, c=3, d=1)
    assert origins(git_repository) == {
        "a": ("one", "a"), "b": ("two", "b"), "c": ("three", "c"), "d": ("one", "d")
    }  # fmt: skip


def test_a_merge_changed_only_what_neither_side_had(git_repository: Git, commit: Commit) -> None:
    commit("base", a=1, b=1, c=1, d=1)
    git_repository.run("switch", "--quiet", "-c", "side")
    commit("theirs", a=1, b=2, c=2, d=1)
    git_repository.run("switch", "--quiet", "main")
    commit("ours", a=3, b=1, c=3, d=1)
    git_repository.run("merge", "--quiet", "-s", "ours", "--no-commit", "side", check=False)
    commit("merge", a=3, b=2, c=4, d=1)
    assert origins(git_repository) == {
        "a": ("ours", "a"), "b": ("theirs", "b"), "c": ("merge", "c"), "d": ("base", "d")
    }  # fmt: skip


@pytest.mark.parametrize("renamed_on_side", [False, True])
def test_each_side_of_a_merge_is_followed_under_its_own_name(
    git_repository: Git, commit: Commit, *, renamed_on_side: bool
) -> None:
    commit("base", "old.safetensors", a=1, b=1, c=1, d=1)
    git_repository.run("branch", "other")
    git_repository.run("mv", "old.safetensors", "m.safetensors")
    commit("renamed", a=2, b=1, c=1, d=1)
    git_repository.run("checkout", "--quiet", "other")
    commit("trained", "old.safetensors", a=1, b=2, c=1, d=1)
    if renamed_on_side:
        git_repository.run("checkout", "--quiet", "-")
    git_repository.run("merge", "--quiet", "--no-commit", "--strategy=ours", "-")
    git_repository.run("rm", "--quiet", "--force", "--ignore-unmatch", "old.safetensors")
    commit("merge", a=2, b=2, c=3, d=1)
    assert origins(git_repository) == {
        "a": ("renamed", "a"), "b": ("trained", "b"), "c": ("merge", "c"), "d": ("base", "d")
    }  # fmt: skip


def test_each_of_many_sides_of_a_merge_is_followed(git_repository: Git, commit: Commit) -> None:
    same = dict.fromkeys("abcdefgh", 1)
    base = commit("base", **same)
    sides = []
    for name in "abc":
        git_repository.run("checkout", "--quiet", "-B", f"side-{name}", base)
        if name == "b":
            git_repository.run("mv", "m.safetensors", "b.safetensors")
        sides += ["-p", commit(name, "b.safetensors" if name == "b" else "m.safetensors", **{**same, name: 2})]
    commit("in the end", **{**same, "a": 2, "b": 2, "c": 2})
    merge = git_repository.run("commit-tree", "HEAD^{tree}", *sides, "-m", "octopus").decode().strip()
    git_repository.run("reset", "--quiet", "--hard", merge)
    assert origins(git_repository) == {name: (name if name in "abc" else "base", name) for name in same}


def test_a_file_that_took_the_name_of_one_that_is_gone_is_followed(git_repository: Git, commit: Commit) -> None:
    commit("gone", a=7)
    commit("trained", "tuned.safetensors", a=1, b=2)
    git_repository.run("rm", "--quiet", "m.safetensors")
    commit("again", "tuned.safetensors", a=1, b=3)
    git_repository.run("mv", "tuned.safetensors", "m.safetensors")
    commit("renamed", a=1, b=3)
    assert origins(git_repository) == {"a": ("trained", "a"), "b": ("again", "b")}


def test_a_file_that_was_deleted_and_added_again_begins_there(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1)
    git_repository.run("rm", "--quiet", "m.safetensors")
    git_repository.run("commit", "--quiet", "-m", "deleted")
    commit("again", a=1)
    assert origins(git_repository) == {"a": ("again", "a")}


def test_a_merge_that_took_one_side_is_no_version(git_repository: Git, commit: Commit) -> None:
    commit("base", a=1)
    git_repository.run("switch", "--quiet", "-c", "side")
    commit("theirs", a=2)
    git_repository.run("switch", "--quiet", "main")
    commit("unrelated", "other.safetensors", z=1)
    git_repository.run("merge", "--quiet", "-m", "merge", "side")
    versions = list_versions(git_repository, "HEAD", "m.safetensors")
    assert [told.subject for told in summaries(git_repository, versions).values()] == ["theirs", "base"]


def test_every_version_comes_behind_all_that_come_from_it(git_repository: Git, commit: Commit) -> None:
    commit("base", a=1, b=1, c=1)
    for name in ("left", "right"):
        git_repository.run("switch", "--quiet", "-c", name, "main")
        commit(name, **{"a": 1, "b": 1, "c": 1, "abc"[len(name) - 4]: 2})
        commit(f"{name} again", **{"a": 1, "b": 1, "c": 1, "abc"[len(name) - 4]: 3})
    git_repository.run("merge", "--quiet", "-s", "ours", "--no-commit", "left", check=False)
    commit("merge", a=3, b=3, c=1)
    versions = list_versions(git_repository, "HEAD", "m.safetensors")
    order = [version.commit for version in newest_first(versions, git_repository.resolve("HEAD"))]
    assert len(order) == len(versions) == 6
    assert all(order.index(one) < order.index(parent) for one in order for parent in versions[one].parents)


def test_a_version_that_is_no_manifest_ends_what_is_known(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1)
    (git_repository.root / "m.safetensors").write_bytes(b"lamella manifest 999\n")
    git_repository.run("commit", "--quiet", "--all", "-m", "two")
    commit("three", a=1)
    assert origins(git_repository) == {"a": ("three", "a")}


def test_a_revision_that_is_none_is_said(git_repository: Git, commit: Commit) -> None:
    commit("one", a=1)
    with pytest.raises(NotFoundError, match="nowhere"):
        list_versions(git_repository, "nowhere", "m.safetensors")


def test_commits_are_told_with_their_dates_and_in_any_language(git_repository: Git, commit: Commit) -> None:
    one = commit("höher\n\nlonger", a=1)
    found = summaries(git_repository, [one, one])
    assert found[one].subject == "höher"
    assert (found[one].author, found[one].email) == ("Ada Lovelace", "ada@example.org")
    assert found[one].date.count("T") == 1
    assert summaries(git_repository, []) == {}
