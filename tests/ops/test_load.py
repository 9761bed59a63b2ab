"""`lamella.load`: a revision or a file, as arrays."""

from __future__ import annotations

import sys

import pytest

import lamella
from lamella.core.errors import FormatError, NotFoundError, UsageError
from lamella.integrations.framework import framework
from lamella.integrations.numpy import to_numpy
from lamella.ops.export import export
from lamella.testing.models import LAYERS, model, network, values

MODEL = "model.safetensors"


@pytest.fixture
def history(bench, monkeypatch):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_weight=1))
    monkeypatch.chdir(bench.root)
    return bench


def test_a_revision_is_found_in_the_repository_around(history):
    with lamella.load(f"HEAD~1:{MODEL}") as before, lamella.load(f"HEAD:{MODEL}") as after:
        assert [name for name in after if (before[name] != after[name]).any()] == ["layer.1.weight"]
        assert after.specs() == list(LAYERS)
        assert before.model_id != after.model_id


def test_a_revision_is_found_in_a_repository_that_is_named(history, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with lamella.Repo.open(history.root) as repo:
        for where in (history.root, str(history.root), repo):
            with lamella.load(f"HEAD:{MODEL}", repo=where) as tensors:
                assert tensors["layer.1.weight"].tobytes() == values(LAYERS[3], 1)
    with pytest.raises(UsageError, match="repository"):
        lamella.load(f"HEAD:{MODEL}")


def test_a_path_may_start_where_the_user_stands(history, monkeypatch):
    folder = history.root / "sub"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with lamella.load(f"HEAD:../{MODEL}") as tensors:
        assert len(tensors) == len(LAYERS)


def test_a_file_needs_no_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "HEAD:x").write_bytes(network())
    for name in ("HEAD:x", tmp_path / "HEAD:x"):
        with lamella.load(name) as tensors:
            assert tensors.metadata() == {}
            assert {name: array.tobytes() for name, array in to_numpy(tensors).items()} == {
                one.name: values(one) for one in LAYERS
            }


def test_a_manifest_in_the_place_of_a_file_stands_for_it(history):
    history.write(MODEL, history.git("show", f"HEAD~1:{MODEL}").encode() + b"\n")
    with lamella.load(MODEL) as tensors:
        assert tensors["layer.1.weight"].tobytes() == values(LAYERS[3], 0)
    history.write(MODEL, b"lamella manifest 1\nnonsense\n")
    with pytest.raises(FormatError):
        lamella.load(MODEL)


@pytest.mark.parametrize("source", ["gone.safetensors", "HEAD:gone.safetensors", "gone:model.safetensors", "HEAD:"])
def test_what_is_not_there_is_a_fault(history, source):
    with pytest.raises((NotFoundError, UsageError)):
        lamella.load(source)


def test_the_modules_of_frameworks_are_found_and_import_no_framework():
    from lamella import jax, torch

    assert lamella.torch is torch is sys.modules["lamella.torch"]
    assert lamella.jax is jax
    assert torch.load_state_dict.__module__ == "lamella.integrations.torch"
    with pytest.raises(AttributeError):
        lamella.nothing  # noqa: B018


def test_a_framework_that_is_missing_is_named_with_what_installs_it():
    with pytest.raises(UsageError) as caught:
        framework("no_such_framework")
    assert caught.value.kind == "framework-missing"
    assert "pip install no_such_framework" in caught.value.hint


def test_a_folder_is_one_model(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(model(LAYERS[:3]))
    (tmp_path / "b.safetensors").write_bytes(model(LAYERS[3:]))
    with lamella.load(tmp_path) as tensors:
        names = [one.name for one in LAYERS[::-1]]
        streamed = [b"".join(map(bytes, pieces)) for pieces in tensors.stream(names)]
        assert streamed == [values(one) for one in LAYERS[::-1]]
        assert tensors.files == 2
        with pytest.raises(UsageError, match="in several files"):
            tensors.file_pieces()
        report = export(tensors, tmp_path / "c.safetensors")
        assert (report.tensors, report.model_id) == (len(LAYERS), tensors.model_id)
