"""`status` and `diff` say what is, also of what cannot be read, and compare what is named."""

from __future__ import annotations

import os
import struct

import pytest

from lamella.core.errors import BackendError, UsageError
from lamella.ops.comparison import Part, Total
from lamella.ops.diff import diff
from lamella.ops.status import status
from lamella.repo.targets import opened_model
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL, OTHER = "model.safetensors", "other.safetensors"


def commit_bytes(bench: Workbench, path: str, content: bytes) -> None:
    blob = bench.git("hash-object", "-w", "--stdin", given=content.decode())
    bench.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    bench.git("commit", "--quiet", "--message", "as it is")


def test_a_file_that_cannot_be_read_is_not_gone(bench, repository, monkeypatch):
    bench.commit(MODEL, network())
    bench.commit(OTHER, network())
    for path in (MODEL, OTHER):
        bench.write(path, network(layer_1_bias=1))
    opened = os.open

    def refuse(path: object, *args: object, **options: object) -> int:
        if path == MODEL:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    report = status(repository)
    assert [change.path for change in report.unstaged] == [OTHER]
    assert report.others == ((" M", MODEL),)
    with pytest.raises(BackendError) as caught:
        diff(repository, [])
    assert (caught.value.kind, caught.value.message) == ("unreadable", f"cannot open {MODEL}: permission denied")


def test_a_malformed_manifest_does_not_hide_the_other_files(bench, repository):
    bench.commit(OTHER, network())
    bench.commit(MODEL, network())
    text = bench.blob(f"HEAD:{MODEL}")
    commit_bytes(bench, MODEL, text[:-1])
    bench.write(OTHER, network(layer_1_bias=1))
    report = status(repository)
    assert [change.path for change in report.unstaged] == [OTHER]
    assert report.others == ((" M", MODEL),)


def test_two_files_are_compared_by_their_names(bench, repository):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_bias=1))
    bench.commit(OTHER, network(layer_1_bias=1, layer_2_bias=1))
    for before, after, names in (
        (f"HEAD~2:{MODEL}", f"HEAD:{MODEL}", ["layer.1.bias"]),
        (f"HEAD:{MODEL}", f"HEAD:{OTHER}", ["layer.2.bias"]),
        (bench.git("rev-parse", f"HEAD:{MODEL}"), f":{OTHER}", ["layer.2.bias"]),
    ):
        (change,) = diff(repository, [before, after]).files
        assert (change.path, [tensor.name for tensor in change.tensors]) == (after.partition(":")[2], names)
    assert diff(repository, [f"HEAD:{MODEL}..HEAD~1:{MODEL}"]).files == ()


@pytest.mark.parametrize(
    "named", [[f"HEAD:{MODEL}"], ["HEAD", f"HEAD:{MODEL}"], [f"HEAD:{MODEL}", "HEAD:.gitattributes"]]
)
def test_a_file_is_compared_with_a_model_file_only(bench, repository, named):
    bench.commit(MODEL, network())
    with pytest.raises(UsageError) as caught:
        diff(repository, named)
    assert caught.value.kind == "bad-argument"


def large_header(name: str, tokens: int = 100_000) -> bytes:
    """A GGUF file whose header is so long that it is kept as a part."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def entry(key: str, value: str) -> bytes:
        return text(key) + struct.pack("<I", 8) + text(value)

    words = struct.pack("<IIQ", 9, 8, tokens) + b"".join(text(f"token{number:07}") for number in range(tokens))
    tokenizer = text("tokenizer.ggml.tokens") + words
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 3) + entry("general.architecture", "llama")
    header += entry("general.name", name) + tokenizer
    header += text("w") + struct.pack("<IQIQ", 1, 64, 0, 0)
    return header + bytes(-len(header) % 32) + bytes(256)


def test_metadata_of_a_header_that_is_a_part_are_read_and_compared(bench, repository):
    bench.write(".gitattributes", b"*.gguf filter=lamella\n")
    bench.commit("m.gguf", large_header("first"))
    bench.commit("m.gguf", large_header("other"))
    with opened_model("HEAD:m.gguf", bench.root) as model:
        assert any(row.part for row in model.files[0].manifest.rows)
        assert model.files[0].metadata()["general.name"] == "other"
    for sides in (["HEAD~", "HEAD"], ["HEAD~:m.gguf", "HEAD:m.gguf"], ["HEAD~"]):
        (change,) = diff(repository, sides).files
        assert [(one.key, one.before, one.after) for one in change.metadata] == [("general.name", "first", "other")]


def test_the_total_is_the_weighted_mean_of_the_parts_that_are_known():
    parts = Part("structure", 3, 0.5), Part("parameters", 1, 0.1), Part("data", 2, None)
    assert Total(parts).value == pytest.approx(0.4)
    assert Total(()).value == Total(parts[2:]).value == Total((Part("structure", 0, 1.0),)).value == 0


def test_weights_as_large_as_there_are_make_a_total():
    assert Total((Part("structure", 1e308, 0.0), Part("parameters", 1e308, 0.5))).value == pytest.approx(0.25)
