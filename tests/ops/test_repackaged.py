"""What left under one path and came back under others: told by the weights, not by names."""

from __future__ import annotations

import pytest

from lamella.cli.changes_text import one_line
from lamella.formats.file import BytesFile
from lamella.ops.diff import diff
from lamella.ops.log import log
from lamella.ops.repackaged import Repackaged, find_repackaged
from lamella.ops.status import status
from lamella.repo.checkin import identify_file
from lamella.repo.manifest import Manifest
from lamella.testing.models import LAYERS, model, network, spec
from tests.e2e.workbench import Workbench


def manifest(content: bytes) -> Manifest:
    return identify_file(BytesFile(content), 1)


WHOLE = manifest(network())
OTHER = manifest(network("a note"))
SHARDS = {f"s/{number}.safetensors": manifest(model(LAYERS[number::2])) for number in range(2)}


def pairs(found: tuple[Repackaged, ...]) -> list[tuple[tuple[str, ...], tuple[str, ...], bool]]:
    return [(one.before, one.after, one.container) for one in found]


def test_one_file_becomes_another():
    found = find_repackaged({"m.pt": WHOLE, "x": SHARDS["s/0.safetensors"]}, {"m.safetensors": OTHER})
    assert pairs(found) == [(("m.pt",), ("m.safetensors",), True)]
    assert found[0].model_id == WHOLE.model_id()
    assert pairs(find_repackaged({"a": WHOLE}, {"b": WHOLE})) == [(("a",), ("b",), False)]


def test_one_file_becomes_shards_and_shards_become_one():
    assert pairs(find_repackaged({"m": WHOLE}, SHARDS)) == [(("m",), tuple(SHARDS), True)]
    assert pairs(find_repackaged(SHARDS, {"m": WHOLE})) == [(tuple(SHARDS), ("m",), True)]
    thirds = {f"t/{number}": manifest(model(LAYERS[number::3])) for number in range(3)}
    assert pairs(find_repackaged(SHARDS, thirds)) == [(tuple(SHARDS), tuple(thirds), True)]


def test_a_file_is_matched_once():
    found = find_repackaged({"a": WHOLE}, {"b": WHOLE, "c": OTHER})
    assert len(found) == 1
    found = find_repackaged({"a": WHOLE, **SHARDS}, {"b": OTHER})
    assert pairs(found) == [(("a",), ("b",), True)]


def test_other_weights_and_files_without_tensors_are_not_matched():
    changed = manifest(network(layer_1_bias=1))
    opaque = manifest(bytes(3000))
    empty = manifest(model([]))
    assert find_repackaged({"a": WHOLE}, {"b": changed}) == ()
    assert find_repackaged({"a": opaque}, {"b": opaque}) == ()
    assert find_repackaged({"a": empty}, {"b": empty}) == ()
    clash = {"f/a": WHOLE, "f/b": changed}
    assert find_repackaged({"a": manifest(model([spec("z", 2)]))}, clash) == ()


@pytest.mark.parametrize("renames", ["true", "false"])
def test_status_diff_and_log_tell_it(bench: Workbench, repository, renames):
    bench.git("config", "status.renames", renames)
    bench.commit("m.safetensors", network(), "whole")
    bench.git("rm", "--quiet", "m.safetensors")
    for number in range(2):
        path = f"llm/{number}.safetensors"
        bench.write(path, model(LAYERS[number::2]))
        bench.lamella("add", path)
    expected = [(("m.safetensors",), ("llm/0.safetensors", "llm/1.safetensors"), True)]
    assert pairs(status(repository).repackaged) == expected
    assert pairs(diff(repository, ["HEAD"]).repackaged) == expected
    bench.git("commit", "--quiet", "--message", "shards")
    assert pairs(next(log(repository)).repackaged) == expected
    assert pairs(diff(repository, ["HEAD~1", "HEAD"]).repackaged) == expected
    assert pairs(diff(repository, ["HEAD", "HEAD~1"]).repackaged) == [(expected[0][1], expected[0][0], True)]


def test_a_file_that_only_moved_is_told_as_such(bench: Workbench, repository):
    bench.commit("m.safetensors", network(), "whole")
    bench.git("mv", "m.safetensors", "n.safetensors")
    assert status(repository).repackaged == ()  # Git's own line says it
    bench.git("commit", "--quiet", "--message", "moved")
    (moved,) = diff(repository, ["HEAD~1", "HEAD"]).repackaged
    assert pairs((moved,)) == [(("m.safetensors",), ("n.safetensors",), False)]
    assert list(one_line((), [moved])) == ["m.safetensors -> n.safetensors: moved"]


def test_folders_are_compared_as_models(bench: Workbench, repository):
    bench.commit("one/m.safetensors", network(), "whole")
    for number in range(2):
        bench.commit(f"two/{number}.safetensors", model(LAYERS[number::2], {"layer.1.bias": number}), "shard")
    (change,) = diff(repository, ["HEAD:one", "HEAD:two"]).files
    assert (change.path, change.container, change.tensors) == ("two", True, ())
    (change,) = diff(repository, ["HEAD:two", "HEAD:one/m.safetensors"]).files
    assert change.container
    bench.commit("two/1.safetensors", model(LAYERS[1::2], {"layer.1.weight": 1}), "changed")
    (change,) = diff(repository, ["HEAD~1:two", "HEAD:two"]).files
    assert [tensor.name for tensor in change.tensors] == ["layer.1.weight"]
    assert diff(repository, ["HEAD:two", "HEAD:two"]).files == ()


def test_diff_says_what_changed_beside_the_tensors(bench: Workbench, repository):
    tensors = [spec("a", 3)]
    bench.commit("m.safetensors", model(tensors, note="one"))
    bench.commit("m.safetensors", model(tensors, {"a": 1}, note="two"))
    bench.write("m.safetensors", model(tensors, {"a": 1}))
    for revisions, sides in (
        (["HEAD~1", "HEAD"], ("one", "two")),
        (["HEAD~1:m.safetensors", "HEAD:m.safetensors"], ("one", "two")),
        (["HEAD"], ("two", None)),
        ([], ("two", None)),
    ):
        (change,) = diff(repository, revisions).files
        assert [(one.key, one.before, one.after) for one in change.metadata] == [("note", *sides)]
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    repository.store.refresh()
    (change,) = diff(repository, ["HEAD~1", "HEAD"]).files
    assert (change.metadata, len(change.tensors)) == ((), 1)


def test_status_tells_it_where_only_one_side_is_staged(bench: Workbench, repository):
    bench.commit("m.safetensors", network(), "whole")
    (bench.root / "m.safetensors").unlink()
    bench.write("n.safetensors", network("a note"))
    assert status(repository).unstaged_repackaged == ()  # what Git does not track is not hashed
    bench.git("add", "--intent-to-add", "n.safetensors")
    expected = [(("m.safetensors",), ("n.safetensors",), True)]
    assert pairs(status(repository).unstaged_repackaged) == expected
    bench.lamella("add", "n.safetensors")
    found = status(repository)
    assert (found.repackaged, pairs(found.unstaged_repackaged)) == ((), expected)
    assert [change.what for change in (*found.staged, *found.unstaged)] == ["added", "removed"]
    assert list(one_line(found.unstaged, found.unstaged_repackaged)) == [
        "m.safetensors -> n.safetensors: same weights, other container"
    ]
    bench.git("add", "--all")
    found = status(repository)
    assert (pairs(found.repackaged), found.unstaged_repackaged) == (expected, ())


def test_a_new_file_that_left_the_worktree_again_is_not_another_of_itself(bench: Workbench, repository):
    bench.write("m.safetensors", network())
    bench.lamella("add", "m.safetensors")
    (bench.root / "m.safetensors").unlink()
    found = status(repository)
    assert (found.repackaged, found.unstaged_repackaged) == ((), ())
