"""`lamella export`, as it is typed."""

from __future__ import annotations

import json

import pytest

from lamella.ops.load import load
from lamella.testing.models import LAYERS, model, spec

MODEL = "model.safetensors"


def specs_of(path) -> dict[str, str]:
    with load(path) as opened:
        return {one.name: one.dtype.name for one in opened.specs()}


def test_a_revision_a_staged_file_and_a_file_go_out(bench, call):
    for number, source in enumerate([f"HEAD~1:{MODEL}", f":{MODEL}", MODEL, f"HEAD:./{MODEL}"]):
        ended = call("export", source, f"{number}.pt")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == f"{number}.pt: pt, 8 tensors, 3.2 KiB\n"
    assert bench.read("0.pt") != bench.read("1.pt") == bench.read("2.pt") == bench.read("3.pt")


def test_the_file_itself_goes_out_where_nothing_else_is_asked_for(bench, call):
    assert call("export", f"HEAD:{MODEL}", "out.safetensors").out == (
        "out.safetensors: the file itself, 8 tensors, 1.3 KiB\n"
    )
    assert bench.read("out.safetensors") == bench.read(MODEL)
    ended = call("export", f"HEAD:{MODEL}", "out.safetensors")
    assert (ended.code, ended.out) == (2, "")
    assert "`--force`" in ended.err
    assert call("export", f"HEAD:{MODEL}", "out.safetensors", "--force", "--quiet").out == ""


def test_names_dtypes_and_metadata_are_changed(bench, call):
    (bench.root / "names.json").write_text('{"layer.0.bias": "first"}')
    ended = call(
        *("export", f"HEAD:{MODEL}", "out", "--format", "safetensors", "--select", "*.bias", "--names", "names.json"),
        *("--rename", r"^layer\.(\d)\.=l\1_", "--dtype", "bf16", "--dtype", "layer.3.*=f64", "--metadata", "by=me=you"),
    )
    assert ended.code == 0
    assert specs_of(bench.root / "out") == {"first": "bf16", "l1_bias": "bf16", "l2_bias": "bf16", "l3_bias": "f64"}
    with load(bench.root / "out") as opened:
        assert opened.metadata() == {"by": "me=you"}
    assert "cast 4 tensors: " in ended.out
    assert " of 96 values changed, by at most " in ended.out


def test_what_a_cast_loses_is_said(bench, call):
    many = spec("many", 64)
    bench.write("wild.safetensors", model([many, spec("n", 1, dtype="i64")]))
    ended = call("export", "wild.safetensors", "out.pt", "--dtype", "f16")
    assert "values changed, by at most" in ended.out
    assert "left as they were: 1 tensor\n" in ended.out
    assert "overflowed and are finite no more" in ended.err
    ended = call("export", "wild.safetensors", "wide.pt", "--dtype", "f64", "--dtype", "n=i8")
    assert ended.code == 2
    assert "do not fit into i8" in ended.err
    assert not (bench.root / "wide.pt").exists()


@pytest.mark.parametrize(("size", "files"), [("100B", 8), ("0.1KB", 0), ("1KiB", 1), ("384", 2), ("1 gb", 1), ("0", 0)])
def test_a_size_of_shards_is_understood_or_refused(bench, call, size, files):
    ended = call("export", f"HEAD:{MODEL}", "out.safetensors", "--shard-size", size, "--json")
    report = json.loads(ended.out)
    assert len(report.get("files", [])) == files
    assert (ended.code == 0) == bool(files)
    assert (bench.root / "out.safetensors.index.json").exists() == (files > 1)


@pytest.mark.parametrize(
    "table",
    [
        "",
        "[]",
        '[["layer.0.bias", "a"]]',
        "1",
        '{"a": 1}',
        '{"layer.0.bias": "a", "layer.0.bias": "b"}',
        '{"gone": "a"}',
        "[" * 100_000,
    ],
)
def test_a_table_of_names_that_is_none_is_refused(bench, call, table):
    (bench.root / "names.json").write_text(table)
    ended = call("export", f"HEAD:{MODEL}", "out.pt", "--names", "names.json")
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert not (bench.root / "out.pt").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["gone", "out.pt"], 3),
        (["HEAD:gone", "out.pt"], 3),
        ([f"HEAD:{MODEL}", "out.pt", "--names", "gone.json"], 7),
        ([f"HEAD:{MODEL}", "out.pt", "--template", "gone"], 3),
        ([f"HEAD:{MODEL}", "out.pt", "--metadata", "a"], 2),
        ([f"HEAD:{MODEL}", "out.pt", "--metadata", "a=b"], 2),
        ([f"HEAD:{MODEL}", "out.pt", "--rename", "("], 2),
        ([f"HEAD:{MODEL}", "out.pt", "--dtype", "float32"], 2),
        ([f"HEAD:{MODEL}", "out.pt", "--format", "x"], 2),
        ([f"HEAD:{MODEL}", "gone/out.pt"], 3),
        ([f"HEAD:{MODEL}", "out.onnx"], 2),
    ],
)
def test_what_cannot_be_is_one_sentence(bench, call, options, code):
    ended = call("export", *options)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")
    assert [path for path in bench.root.iterdir() if path.name.startswith("out")] == []


def test_the_history_has_what_the_files_have(bench, call):
    call("export", f"HEAD:{MODEL}", "out.safetensors", "--select", "*")
    report = json.loads(call("export", "out.safetensors", "out.pt", "--json").out)
    shown = json.loads(call("show", f"HEAD:{MODEL}", "--json").out)
    assert (report["model_id"], report["tensors"]) == (shown["model_id"], len(LAYERS))
