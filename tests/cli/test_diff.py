"""What `lamella diff` prints of the weights, and when it exits with 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lamella.cli.comparison_text import shortened
from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import build_header

MODEL = "model.safetensors"


def file(metadata=None, **arrays) -> bytes:
    """Return a safetensors file of float32 arrays; an underscore in a name stands for a dot."""
    named = {name.replace("_", "."): np.asarray(array, "<f4") for name, array in arrays.items()}
    specs = [TensorSpec(name, DTYPES["f32"], array.shape) for name, array in named.items()]
    return build_header(specs, metadata) + b"".join(array.tobytes() for array in named.values())


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder outside of any repository with two models."""
    folder = tmp_path / "plain"
    folder.mkdir()
    monkeypatch.chdir(folder)
    values = np.random.default_rng(0).normal(0, 1, (40, 8))
    (folder / "a.safetensors").write_bytes(file({"lr": "1"}, wte_weight=values, norm_weight=[0.1, 0.2, 0.3, 0.4]))
    grown = np.concatenate([values, values[:2]])
    (folder / "b.safetensors").write_bytes(file({"lr": "2"}, wte_weight=grown, norm_weight=[0.1, 0.2, 0.5, 0.4]))
    return folder


def test_two_files_need_no_repository(call, pair):
    ended = call("diff", "a.safetensors", "b.safetensors")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "b.safetensors: 1 changed, 1 reshaped of 2 tensors"
    assert "  ! vocabulary wte.weight: 40 rows -> 42 rows" in lines
    assert "  metadata lr: 1 -> 2" in lines
    (norm,) = [line.split() for line in lines if line.startswith("  norm.weight")]
    assert norm[1] == "0.05"


def test_the_order_is_the_one_in_which_a_person_asks(call, pair):
    out = call("diff", "a.safetensors", "b.safetensors").out
    headings = [line.split()[0] for line in out.splitlines()[1:] if not line.startswith(" ")]
    assert headings == ["difference", "interface", "parameters", "training"]


def test_the_worked_example_has_a_mean_of_a_twentieth(call, pair):
    found = json.loads(call("diff", "a.safetensors", "b.safetensors", "--layers", "norm.*", "--json").out)
    (tensor,) = found["comparisons"][0]["tensors"]
    assert tensor["measures"]["mean_absolute"] == pytest.approx(0.05, rel=1e-6)
    assert tensor["measures"]["changed"] == 1


def test_exit_code_with_an_epsilon_asks_whether_anything_moved_further(call, pair):
    (pair / "c.safetensors").write_bytes((pair / "a.safetensors").read_bytes().replace(b'"1"', b'"3"'))
    content = bytearray((pair / "a.safetensors").read_bytes())
    content[-16:] = np.asarray([0.1, 0.2, 0.301, 0.4], "<f4").tobytes()
    (pair / "d.safetensors").write_bytes(content)
    asked = ("diff", "a.safetensors", "d.safetensors", "--exit-code")
    assert call(*asked).code == 1
    assert call(*asked, "--epsilon", "0.01").code == 0
    assert call(*asked, "--epsilon", "0.0001").code == 1
    assert call(*asked, "--epsilon", "1", "--epsilon", "norm.*=0.0001").code == 1
    assert call("diff", "a.safetensors", "c.safetensors", "--exit-code", "--epsilon", "1").code == 0
    assert call("diff", "a.safetensors", "a.safetensors", "--exit-code").code == 0


@pytest.mark.parametrize("value", ["x", "a=", "-1", "a=nan"])
def test_what_is_no_epsilon_is_refused(call, pair, value):
    ended = call("diff", "a.safetensors", "b.safetensors", "--epsilon", value)
    assert ended.code == 2
    assert "--epsilon" in ended.err


def test_a_pattern_that_nothing_matches_is_refused(call, pair):
    ended = call("diff", "a.safetensors", "b.safetensors", "--layers", "absent.*")
    assert (ended.code, ended.out) == (3, "")
    assert "no side has a tensor like 'absent.*'" in ended.err


def test_paths_of_the_repository_are_still_paths(call, bench):
    bench.write("other.safetensors", bench.read(MODEL))
    bench.git("add", "other.safetensors")
    ended = call("diff", MODEL, "other.safetensors")
    assert "no model file differs" in ended.err
    assert ended.err.endswith("to compare the two files with each other, give --no-index\n")
    assert "1 changed of 8 tensors" in call("diff", "--no-index", f"HEAD~1:{MODEL}", MODEL).out


def test_models_of_revisions_are_named_from_where_the_user_stands(call, bench, monkeypatch):
    bench.commit("top.safetensors", file(a=[1]))
    bench.commit("deep/one..two.safetensors", file(a=[1]))
    bench.commit("deep/one..two.safetensors", file(a=[2]))
    monkeypatch.chdir(bench.root / "deep")
    here = call("diff", "--stat", "HEAD~1:./one..two.safetensors", "HEAD:./one..two.safetensors")
    assert here.out == "deep/one..two.safetensors: 1 changed of 1 tensor\n"
    above = call("diff", "--stat", "HEAD:../top.safetensors", "HEAD:deep/one..two.safetensors")
    assert above.out == "deep/one..two.safetensors: 1 changed of 1 tensor\n"


def test_only_what_was_all_zeros_is_new(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, after = ({"zeros": [0.0, 0.0], "huge": [1e300] * 4}, {"zeros": [1.0, 0.0], "huge": [-1e300] * 4})
    for name, arrays in (("a", before), ("b", after)):
        specs = [TensorSpec(one, DTYPES["f64"], (len(values),)) for one, values in arrays.items()]
        data = b"".join(np.asarray(values, "<f8").tobytes() for values in arrays.values())
        Path(f"{name}.safetensors").write_bytes(build_header(specs, None) + data)
    out = call("diff", "a.safetensors", "b.safetensors", "--all").out
    shown = {line.split()[0]: line.split()[2] for line in out.splitlines() if line.startswith("  ")}
    assert (shown["zeros"], shown["huge"]) == ("new", "-")


def test_settings_of_the_project_hold(call, bench):
    bench.write(
        ".lamella/config.toml", b'[diff]\nweights = {parameters = 1, structure = 0}\n[diff.epsilon]\n"*" = 1e9\n'
    )
    out = call("diff", "HEAD~1", "HEAD", "--json").out
    (comparison,) = json.loads(out)["comparisons"]
    assert [part["weight"] for part in comparison["total"]["parts"]] == [0, 1, 0.1, 0.1]
    assert {tensor["epsilon"] for tensor in comparison["tensors"]} == {1e9}


def test_a_page_is_written_for_one_model(call, bench):
    ended = call("diff", "HEAD~1", "HEAD", "--html", "out.html")
    assert (ended.code, ended.err) == (0, "wrote out.html\n")
    assert bench.read("out.html").startswith(b"<!doctype html>")
    ended = call("diff", "HEAD", "HEAD", "--html", "none.html")
    assert ended.code == 2
    assert "nothing that a page could show differs" in ended.err


def test_weights_that_are_not_here_leave_what_ids_say(call, bench):
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    (bench.root / ".git/lamella/index.db").unlink()
    ended = call("diff", "HEAD~1", "HEAD")
    assert ended.code == 0
    assert "1 changed of 8 tensors" in ended.out
    assert "not compared: " in ended.err


def test_stat_reads_no_weights(call, bench):
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    ended = call("diff", "HEAD~1", "HEAD", "--stat")
    assert (ended.out, ended.err) == (f"{MODEL}: 1 changed of 8 tensors\n", "")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, "encoder.layer.11.attention.self.key.bias"),
        (39, "e.layer.11.attention.self.key.bias"),
        (30, "e.l.11.attention.self.key.bias"),
        (24, "e.l.11.a.self.key.bias"),
        (20, "e.l.11.a.s.key.bias"),
        (16, "e.l.1...s.k.bias"),
    ],
)
def test_a_name_that_is_too_long_keeps_its_numbers(width, shown):
    found = shortened("encoder.layer.11.attention.self.key.bias", width)
    assert found == shown
    assert len(found) <= width


OLD, NEW = b"text,label\na,0\nb,1\nc,1\n", b"text,label\na,0\nc,1\nd,0\ne,0\n"
ROWS = "2 added, 1 removed, 2 kept of 3 -> 4 rows"


def test_tables_are_compared_by_their_rows(call, tmp_path, monkeypatch):
    for folder, content in (("old", OLD), ("new", NEW)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    out = call("diff", "old/t.csv", "new/t.csv").out
    assert out.startswith(f"t.csv: {ROWS}\n")
    assert "label=0" in out
    assert f"t.csv: {ROWS}" in call("diff", "old", "new").out
    assert call("diff", "old", "new", "--exit-code").code == 1
    assert "text=" in call("diff", "old/t.csv", "new/t.csv", "--label", "text").out
    (data,) = json.loads(call("diff", "old/t.csv", "new/t.csv", "--json").out)["data"]
    assert (data["distance"], data["unit"]) == (0.6, "rows")


def test_data_that_changed_with_a_model_counts_in_the_total(call, bench):
    bench.write(".gitattributes", b"*.safetensors filter=lamella -text\n*.csv filter=lamella -text\n")
    bench.commit("t.csv", OLD)
    bench.commit("t.csv", NEW)
    assert call("diff", "HEAD~1:t.csv", "HEAD:t.csv").out.startswith(f"t.csv: {ROWS}\n")
    report = json.loads(call("diff", "HEAD~3", "HEAD~1", "--json").out)
    assert report["data"] == []
    bench.commit(MODEL, bench.read(MODEL)[:-1] + b"\0")
    report = json.loads(call("diff", "HEAD~2", "HEAD", "--json").out)
    parts = {part["name"]: part["distance"] for part in report["comparisons"][0]["total"]["parts"]}
    assert parts["data"] == 0.6
    out = call("diff", "HEAD~2", "HEAD").out
    assert f"t.csv: {ROWS}" in out
    assert "1 of 8 tensors moved" in out


def test_a_named_table_that_git_keeps_whole_is_compared(call, bench):
    bench.write("plain.csv", OLD)
    bench.git("add", "plain.csv")
    bench.git("commit", "--quiet", "-m", "data")
    bench.write("plain.csv", NEW)
    assert call("diff", "--", "plain.csv").out.startswith(f"plain.csv: {ROWS}\n")
    assert call("diff", "--exit-code", "HEAD", "--", "plain.csv").code == 1
    assert "no model file differs" in call("diff", "--", ".gitattributes").err


def test_an_adapter_that_was_added_is_told_with_its_tensors(call, pair):
    grown = {"q_weight": np.ones((4, 4)), "q_lora-A_weight": np.ones((2, 4)), "q_lora-B_weight": np.ones((4, 2))}
    for name, count in (("a", 1), ("b", 3)):
        arrays = dict(list(grown.items())[:count])
        (pair / f"{name}.safetensors").write_bytes(file(**arrays).replace(b"lora-", b"lora_"))
    lines = call("diff", "a.safetensors", "b.safetensors").out.splitlines()
    assert "  + q.lora_A.weight  f32 [2,4]  32 B" in lines
    assert "  + q.lora_B.weight  f32 [4,2]  32 B" in lines
    assert not [line for line in lines if "0 tensors" in line]


def test_a_cast_is_told_as_one_and_its_rounding_shortly(call, pair):
    names = [f"h.{number}.weight" for number in range(5)]
    values = np.random.default_rng(1).normal(0, 1, (5, 8)).astype("<f4")
    for name, dtype in (("a", "f32"), ("b", "f16")):
        specs = [TensorSpec(one, DTYPES[dtype], (8,)) for one in names]
        metadata = {f"v.{one}.version": "1" for one in names} if name == "a" else {}
        stored = values.astype({"f32": "<f4", "f16": "<f2"}[dtype])
        (pair / f"{name}.safetensors").write_bytes(build_header(specs, metadata) + stored.tobytes())
    lines = call("diff", "a.safetensors", "b.safetensors").out.splitlines()
    assert lines[0] == "b.safetensors: 5 cast of 5 tensors"
    assert lines[2] == "parameters  5 of 5 tensors moved, 0 beyond epsilon; all of it is rounding"
    assert lines[-3] == "  ... 2 more moved less; --all shows them"
    assert lines[-1] == "  metadata v.*.version: 1 -> nothing  (5 times)"
    assert call("diff", "a.safetensors", "b.safetensors", "--all").out.count("rounding") == 1 + 5


def test_the_state_of_an_optimizer_is_told_behind_the_weights(call, pair):
    for name, weight, state in (("a", 1.0, 1.0), ("b", 1.1, 9.0)):
        content = file(model_weight=np.full(8, weight), optimizer_state_0=np.full(8, state))
        (pair / f"{name}.safetensors").write_bytes(content)
    lines = call("diff", "a.safetensors", "b.safetensors").out.splitlines()
    assert "parameters 0.1," in lines[1]
    assert lines[2] == "parameters  1 of 1 tensor moved, 1 beyond epsilon"
    assert lines[4].split()[0] == "model.weight"
    assert lines[5:] == ["optimizer  1 of 1 tensor moved, 1 beyond epsilon"]
    assert (
        call("diff", "a.safetensors", "b.safetensors", "--all").out.splitlines()[-1].split()[0] == "optimizer.state.0"
    )


def test_rows_that_were_added_differ_whatever_the_epsilon(call, pair):
    values = np.ones((4, 2))
    (pair / "a.safetensors").write_bytes(file(wte_weight=values))
    (pair / "b.safetensors").write_bytes(file(wte_weight=np.concatenate([values, values])))
    ended = call("diff", "a.safetensors", "b.safetensors", "--exit-code", "--epsilon", "1")
    assert ended.code == 1
    assert "parameters  0 of 1 tensor moved, 0 beyond epsilon; 1 only resized" in ended.out.splitlines()
    assert "parameters 0.5," in ended.out


def test_what_is_told_as_the_interface_is_told_once(call, pair):
    for name, length in (("a", "128"), ("b", "256")):
        (pair / f"{name}.safetensors").write_bytes(file({"context_length": length}, w=[float(length)]))
    out = call("diff", "a.safetensors", "b.safetensors").out
    assert out.count("context_length") == 1


def test_a_file_that_is_not_there_is_told_without_a_repository(call, pair):
    ended = call("diff", "a.safetensors", "absent.safetensors")
    assert ended.code == 3
    assert ended.err.startswith("error: there is no file or folder absent.safetensors")


def test_a_broken_file_is_named(call, pair):
    (pair / "b.safetensors").write_bytes((pair / "a.safetensors").read_bytes()[:-1])
    ended = call("diff", "a.safetensors", "b.safetensors")
    assert ended.code == 6
    assert ended.err.startswith("error: b.safetensors: ")


def test_a_page_that_cannot_be_written_names_the_folder(call, pair):
    ended = call("diff", "a.safetensors", "b.safetensors", "--html", "absent/out.html")
    assert ended.code == 7
    assert ended.err.startswith("error: absent: no such file or directory\n")


def test_data_at_revisions_are_named_as_models_are(call, bench):
    bench.write("d/t.csv", OLD)
    bench.write("d/i.png", b"x")
    bench.git("add", "d")
    bench.git("commit", "--quiet", "-m", "old")
    bench.write("d/t.csv", NEW)
    bench.git("add", "d")
    bench.git("commit", "--quiet", "-m", "new")
    assert call("diff", "HEAD~1:d/t.csv", "HEAD:d/t.csv").out.startswith(f"t.csv: {ROWS}\n")
    for arguments in (("HEAD~1:d", "HEAD:d"), ("--no-index", "HEAD~1:d", "HEAD:d")):
        assert call("diff", *arguments).out.startswith(f"~ t.csv: {ROWS}\n")
    ended = call("diff", "HEAD~1:d/i.png", "HEAD:d/t.csv")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: 'HEAD~1:d/i.png' is no model file")
