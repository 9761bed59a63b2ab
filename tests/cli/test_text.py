"""What people read."""

from __future__ import annotations

import io
import json
import re
import subprocess

import numpy
import pytest
from safetensors.numpy import save_file

from lamella.cli.commands.add import foreign_note
from lamella.cli.group import COMMANDS, SECTIONS
from lamella.ops.add import AddedFile
from lamella.testing.models import LAYERS, model, network, spec, values
from tests.e2e.workbench import PROGRAM, run
from tests.formats.wire import graph, outside
from tests.formats.wire import model as onnx
from tests.toy import Placed, toy

MODEL = "model.safetensors"


def test_status_names_what_changed_where(bench, call):
    assert call("status").out == "on branch main\nnothing changed\n"
    bench.write(MODEL, network(layer_1_weight=1, layer_2_bias=1))
    bench.write("new.safetensors", network())
    bench.write("notes.txt", b"text")
    assert call("status").out == (
        "on branch main\n"
        "changed, not staged (`lamella add`):\n"
        f"  {MODEL}: 1 changed of 8 tensors\n"
        "models not tracked yet (`lamella add`):\n"
        "  new.safetensors\n"
        "other files:\n"
        "  ?? notes.txt\n"
    )
    assert call("add", ".").out == (
        f"{MODEL}: 8 tensors, 1 new object, 248 B stored, 18.5% of 1.3 KiB\n"
        "new.safetensors: 8 tensors, 0 new objects, 0 B stored, 0.0% of 1.3 KiB\n"
        "1 other path added by git\n"
    )
    assert call("status").out == (
        "on branch main\n"
        "staged for the next commit:\n"
        f"  {MODEL}: 1 changed of 8 tensors\n"
        "  new.safetensors: added, 8 tensors\n"
        "other files:\n"
        "  A  notes.txt\n"
    )


def test_status_runs_no_filter_and_spares_git_the_work(bench, call):
    bench.write(MODEL, network(layer_1_weight=1))
    bench.git("config", "filter.lamella.process", "false")
    assert call("status").out == "on branch main\nnothing changed\n"
    assert bench.filters_run("status", "--porcelain") == 0
    assert bench.git("status", "--porcelain") == ""


def test_status_shows_a_file_that_became_executable(bench, call):
    (bench.root / MODEL).chmod(0o755)
    assert call("status").out == f"on branch main\nother files:\n   M {MODEL}\n"
    call("add", MODEL)
    assert call("status").out == f"on branch main\nother files:\n  M  {MODEL}\n"


def test_status_shows_a_rename_and_a_deletion(bench, call):
    bench.git("mv", MODEL, "renamed.safetensors")
    assert call("status").out == "on branch main\nother files:\n  R  renamed.safetensors\n"
    (bench.root / "renamed.safetensors").unlink()
    assert "  renamed.safetensors: removed, 8 tensors\n" in call("status").out


def test_diff_lists_tensors_with_what_happened_to_them(bench, call):
    specs = [spec("same", 2), spec("changed", 3), spec("reshaped", 4), spec("gone", 5)]
    bench.commit(MODEL, model(specs))
    specs[2:] = [spec("reshaped", 2, 2, dtype="f16"), spec("new", 6)]
    bench.commit(MODEL, model(specs, {"changed": 1}))
    lines = call("diff", "HEAD~1", "HEAD").out.splitlines()
    assert lines[0] == f"{MODEL}: 1 changed, 1 added, 1 removed, 1 reshaped of 4 tensors"
    assert lines[2:7] == [
        "structure  layers: 2 added, 2 removed; 50 % of the tensors matched",
        "  + new  f32 [6]  24 B",
        "  + reshaped  f16 [2,2]  8 B",
        "  - gone  f32 [5]  20 B",
        "  - reshaped  f32 [4]  16 B",
    ]
    assert lines[7] == "parameters  1 of 2 tensors moved, 1 beyond epsilon; 1 the same"
    assert lines[-1].split()[0] == "changed"
    assert call("diff", "HEAD~1..HEAD", "--stat").out.count("\n") == 1


def test_diff_says_where_only_the_container_differs(bench, call):
    bench.write(MODEL, network("a note in the header", layer_1_weight=1))
    assert call("diff").out == (
        f"{MODEL}: same tensors, the rest of the file is another\n  metadata note: nothing -> a note in the header\n"
    )


def test_diff_says_when_nothing_differs_and_its_exit_code_can_say_it_too(bench, call):
    ended = call("diff", "HEAD")
    assert (ended.code, ended.out, ended.err) == (0, "", "no model file differs between HEAD and worktree\n")
    assert call("diff", "HEAD", "--exit-code").code == 0
    assert call("diff", "HEAD~1", "--exit-code").code == 1


def test_three_dots_compare_with_what_both_come_from(bench, call):
    bench.git("switch", "--quiet", "--create", "side", "HEAD~1", "--force")
    bench.commit(MODEL, network(layer_3_bias=1))
    assert "2 changed" in call("diff", "main..side").out
    assert call("diff", "main...side", "--stat").out == f"{MODEL}: 1 changed of 8 tensors\n"
    bench.git("checkout", "--quiet", "--orphan", "unrelated")
    bench.git("commit", "--quiet", "-m", "unrelated")
    ended = call("diff", "main...unrelated")
    assert ended.err == (
        "error: main and unrelated have no common ancestor\n"
        "hint: `lamella diff main unrelated` compares them directly\n"
    )


def test_log_shows_commits_and_what_they_changed(bench, call):
    commit = bench.git("rev-parse", "HEAD")
    date = bench.git("log", "-1", "--format=%aI")
    assert call("log", "-n", "1").out == (
        f"commit {commit} (HEAD -> main)\n"
        "Author: Ada Lovelace <ada@example.org>\n"
        f"Date:   {date}\n"
        "\n"
        "    second\n"
        "\n"
        f"  {MODEL}: 1 changed of 8 tensors\n"
        "\n"
    )
    assert call("log", "--oneline").out.splitlines()[0] == (
        f"{commit[:10]} (HEAD -> main) second  [{MODEL}: 1 changed of 8 tensors]"
    )
    assert call("log", "main~1", "--oneline").out.count("\n") == 1
    assert call("log", "--oneline", "--", ".gitattributes").out.count("\n") == 1
    assert call("log", "--oneline", MODEL).out.count("\n") == 2


def test_log_of_a_merge_says_what_it_brought(bench, call):
    bench.git("switch", "--quiet", "--create", "side", "HEAD~1", "--force")
    bench.commit(MODEL, network(layer_3_bias=1), "side")
    bench.git("switch", "--quiet", "main", "--force")
    bench.git("merge", "--quiet", "--no-edit", "side", "--strategy-option=ours")
    assert "\nMerge:  " in call("log", "-n", "1").out
    assert f"\n  {MODEL}: 1 changed of 8 tensors\n" in call("log", "-n", "1").out


def test_show_lists_every_tensor_with_what_it_takes(bench, call):
    lines = call("show", f"HEAD:{MODEL}").out.splitlines()
    assert lines[0] == f"HEAD:{MODEL}  safetensors, 8 tensors"
    assert lines[1].startswith("model id  ")
    assert lines[2].startswith("weights   768 B, ")
    assert lines[3].split() == ["TENSOR", "DTYPE", "SHAPE", "SIZE", "STORED"]
    assert lines[4].split() == ["layer.0.bias", "f32", "[4,", "6]", "96", "B", "232", "B"]
    assert len(lines) == 4 + 8
    assert call("show", "HEAD").out.startswith("commit ")
    told = call("show", MODEL)
    assert (told.code, told.out) == (2, "")
    assert f"`lamella show HEAD:{MODEL}`, or `lamella ls {MODEL}`" in told.err


def test_ls_files_counts_tensors_and_of_other_files_the_parts(bench, call):
    bench.write(".gitattributes", b"*.safetensors filter=lamella\n*.bin filter=lamella\n")
    bench.commit("other.bin", b"of no known format")
    assert [line.split()[1:5] for line in call("ls-files").out.splitlines()] == [
        [MODEL, "safetensors", "8", "tensors"],
        ["other.bin", "opaque", "1", "part"],
    ]


def test_quiet_prints_nothing(bench, call):
    bench.write(MODEL, network(layer_2_bias=1))
    assert call("add", "--quiet", ".").out == ""
    assert call("init", "--quiet").out == ""


def test_colours_are_only_for_terminals(bench, call):
    bench.write(MODEL, network(layer_2_bias=1))
    assert "\x1b" not in call("status").out + call("diff").out + call("log").out


def test_every_command_explains_itself(call):
    for command in COMMANDS:
        ended = call(command, "--help")
        assert ended.code == 0
        assert ended.out.startswith(f"Usage: lamella {command} ")
        first = ended.out.split("\n\n")[1].strip()
        assert first.endswith((".", "..."))
    overview = call("--help").out
    assert all(f"{section}:\n" in overview for section in SECTIONS)
    assert all(f"  {command} " in overview for command in COMMANDS)
    assert call().out == overview


def test_an_argument_of_git_is_handed_on_as_it_is(bench, call):
    bench.write("notes.txt", b"text\n")
    call("add", "notes.txt")
    ended = call("commit", "--quiet", "-m", "--help")
    assert ended.code == 0
    assert bench.git("log", "-1", "--format=%B") == "--help"
    assert call("tag", "v1").code == 0
    assert call("tag", "--list").out == "v1\n"
    assert call("branch", "--show-current").out == "main\n"
    assert call("checkout", "--no-such-option").code == 129
    assert call("switch", "gone").code == 128


def test_the_program_says_its_version(git_environment, elsewhere_is):
    ended = run(elsewhere_is, PROGRAM, "version")
    assert ended.code == 0
    assert ended.out.startswith("lamella ")
    assert ", kernels " in ended.out


@pytest.fixture
def elsewhere_is(tmp_path):
    """Return a directory that is no repository."""
    return tmp_path


def test_ls_shows_a_tree_with_layers_folded(bench, call):
    assert call("ls", f"HEAD:{MODEL}").out == (
        f"HEAD:{MODEL}  safetensors\n"
        "TENSOR        DTYPE  SHAPE      COUNT   SIZE\n"
        "layer.[0-3].         8 tensors    192  768 B\n"
        "  bias        f32    4 x [4,6]     96  384 B\n"
        "  weight      f32    4 x [4,6]     96  384 B\n"
        "8 tensors, 192 elements, 768 B\n"
    )
    assert "\nlayer.[0-3].         8 tensors    192  768 B\n8 tensors" in call("ls", MODEL, "--depth", "1").out
    assert call("ls", MODEL, "--all").out.count("\n") == 3 + 1 + 4 * 3
    assert call("ls", MODEL, "--flat", "*.2.*").out.splitlines()[2:4] == [
        "layer.2.bias    f32    [4,6]     24  96 B",
        "layer.2.weight  f32    [4,6]     24  96 B",
    ]


def test_ls_shows_the_files_of_a_folder_and_what_a_file_says(bench, call):
    bench.write("m/a.safetensors", model([spec("a", 3)], note="x" * 300))
    bench.write("m/b.safetensors", model([spec("b", 3)]))
    for number in range(12):
        bench.write(f"m/config.{number}", b"{}")
    lines = call("ls", "m", "--metadata").out.splitlines()
    assert lines[:4] == [
        "m  2 files",
        "  a.safetensors  safetensors  1 tensor",
        "  b.safetensors  safetensors  1 tensor",
        "beside them: config.0, config.1, config.10, config.11, config.2, config.3, config.4,"
        " config.5, 4 more",
    ]  # fmt: skip
    assert call("cat", "m", "b").out.startswith("b  f32 [3]\n[")
    assert lines[4:7] == ["metadata of a.safetensors:", f"  note: {'x' * 200}...", "metadata of b.safetensors:"]


def test_cat_prints_values_as_numpy_does(bench, call):
    array = numpy.arange(24, dtype="f4").reshape(4, 6)
    array[0, 0], array[0, 1] = numpy.nan, numpy.inf
    save_file({"a": array, "long": numpy.arange(5000, dtype="i8").reshape(50, 100)}, bench.root / "x.safetensors")
    assert call("cat", "x.safetensors", "a[1:3, ::2]").out == "a  f32 [2,3]\n[[ 6.  8. 10.]\n [12. 14. 16.]]\n"
    assert call("cat", "x.safetensors", "a[0]").out == "a  f32 [6]\n[nan inf  2.  3.  4.  5.]\n"
    assert call("cat", "x.safetensors", "a[3,-1]").out == "a  f32 []\n23.\n"
    assert call("cat", "x.safetensors", "long").out == (
        "long  i64 [50,100]\n"
        "[[   0    1    2 ...   97   98   99]\n"
        " [ 100  101  102 ...  197  198  199]\n"
        " [ 200  201  202 ...  297  298  299]\n"
        " ...\n"
        " [4700 4701 4702 ... 4797 4798 4799]\n"
        " [4800 4801 4802 ... 4897 4898 4899]\n"
        " [4900 4901 4902 ... 4997 4998 4999]]\n"
    )
    found = json.loads(call("cat", "x.safetensors", "a[0]", "--json").out)
    assert (found["values"], found["shape"]) == (["NaN", "Infinity", 2.0, 3.0, 4.0, 5.0], [6])


def test_cat_prints_what_numpy_does_not_know(bench, call):
    specs = [spec("half", 2, dtype="bf16"), spec("four", 6, dtype="f4_e2m1"), spec("big", 10_000, dtype="f4_e2m1")]
    bench.write("x.safetensors", model([*specs, spec("z", 2, dtype="c64"), spec("deep", *[1] * 9), spec("n", 0, 3)]))
    assert len(call("cat", "x.safetensors", "half").out.splitlines()) == 2
    data = values(specs[1]).hex()
    assert call("cat", "x.safetensors", "four").out == f"four  f4_e2m1 [6]\n{data}\n"
    assert json.loads(call("cat", "x.safetensors", "four", "--json").out)["values"] == data
    lines = call("cat", "x.safetensors", "big").out.splitlines()
    assert (len(lines), lines[-1]) == (34, "... 5,000 bytes; --raw writes them all")
    assert len(json.loads(call("cat", "x.safetensors", "z", "--json").out)["values"][0]) == 2
    assert call("cat", "x.safetensors", "deep").code == 0
    assert call("cat", "x.safetensors", "n").out == "n  f32 [0,3]\n[]\n"
    ended = call("cat", "x.safetensors", "four", "--npy")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: dtype f4_e2m1 has no NumPy array")
    assert call("cat", "x.safetensors", "half", "--npy", "--raw").code == 2


def test_cat_refuses_to_list_millions(bench, call):
    bench.write("x.safetensors", model([spec("a", 1_000_001, dtype="u8")]))
    ended = call("cat", "x.safetensors", "a", "--json")
    assert (ended.code, json.loads(ended.out)["kind"]) == (2, "bad-argument")
    assert call("cat", "x.safetensors", "a[1:]", "--json").code == 0


def test_cat_writes_bytes_and_numpy_files(bench):
    array = numpy.frombuffer(values(LAYERS[0]), "f4").reshape(4, 6)
    for options, read in ((["--raw"], lambda data: numpy.frombuffer(data, "f4")), (["--npy"], loaded)):
        command = [PROGRAM, "cat", f"HEAD:{MODEL}", "layer.0.bias[1:3, 2]", *options]
        data = subprocess.run(command, cwd=bench.root, capture_output=True, check=True).stdout
        assert read(data).tobytes() == array[1:3, 2].tobytes()


def loaded(data: bytes) -> numpy.ndarray:
    return numpy.load(io.BytesIO(data), allow_pickle=False)


def test_id_prints_the_id_of_each_model(bench, call):
    shown = call("show", f"HEAD:{MODEL}").out
    identity = call("id", MODEL).out.strip()
    assert f"model id  {identity}\n" in shown
    assert call("id", MODEL, f"HEAD:{MODEL}", ".").out == (
        f"{identity}  {MODEL}\n{identity}  HEAD:{MODEL}\n{identity}  .\n"
    )
    assert call("id", f"HEAD~1:{MODEL}").out.strip() != identity


@pytest.mark.usefixtures("toys")
def test_show_marks_parts_and_views(bench, call):
    array = numpy.arange(40_000, dtype="<f4").reshape(200, 200)
    placed = {
        "w": Placed("f32", (10, 20), 0),
        "tied": Placed("f32", (10, 20), 0),
        "turned": Placed("f32", (200, 200), 800, (4, 800)),
    }
    bench.commit(MODEL, toy(placed, array.tobytes()[:800] + array.tobytes()))
    lines = call("show", f"HEAD:{MODEL}").out.splitlines()
    assert lines[0] == f"HEAD:{MODEL}  toy, 3 tensors, 2 views among them and 1 part"
    assert [line.split()[-1] for line in lines[-3:]] == ["part", "view", "view"]
    assert "missing" not in "".join(lines)
    assert [line.split()[-3:-1] for line in lines[-2:]] == [["0", "B"]] * 2
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        pack.unlink()
    assert "missing   2 objects not in the store" in call("show", f"HEAD:{MODEL}").out


@pytest.mark.usefixtures("toys")
def test_add_names_code_that_a_file_would_run_and_runs_nothing(bench, call):
    bench.write(MODEL, toy({"evil": Placed("u8", (3,), 0)}, b"abc"))
    ended = call("add", MODEL)
    assert ended.err == (f"note: {MODEL} names code that loading it would run (os.system); nothing of it was run\n")
    file = AddedFile("a.pt", "pytorch", 1, 1, 1, 1, None, ("a", "b", "c", "d", "e"))
    assert "(a, b, c and 2 more)" in foreign_note(file)


def test_status_and_log_say_what_only_came_in_another_container(bench, call):
    bench.git("rm", "--quiet", "--force", MODEL)
    bench.write("a/1.safetensors", model(LAYERS[:3], {"layer.1.weight": 1}))
    bench.write("a/2.safetensors", model(LAYERS[3:], {"layer.1.weight": 1}))
    call("add", "a")
    line = f"{MODEL} -> a/1.safetensors, a/2.safetensors: same weights, other container"
    assert call("status").out == f"on branch main\nstaged for the next commit:\n  {line}\n"
    assert call("diff", "HEAD").out == f"{line}\n"
    call("commit", "--quiet", "-m", "sharded")
    assert f"  {line}\n" in call("log", "-n", "1").out
    assert call("log", "--oneline", "-n", "1").out.endswith(f" sharded  [{line}]\n")


def test_diff_compares_any_two_models(bench, call):
    folder = bench.root.parent / "shards"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.safetensors").write_bytes(model(LAYERS[number::2], {"layer.1.weight": 1}))
    (folder / "../a.safetensors").write_bytes(network("a note", layer_1_weight=2))
    assert call("diff", "--no-index", f"HEAD:{MODEL}", str(folder)).out == f"{folder}: same weights, other container\n"
    lines = call("diff", "--no-index", MODEL, str(folder.parent / "a.safetensors")).out.splitlines()
    assert lines[2] == "parameters  1 of 8 tensors moved, 1 beyond epsilon; 7 the same"
    assert lines[4].startswith("  layer.1.weight ")
    assert lines[5:] == ["metadata", "  metadata note: nothing -> a note"]
    ended = call("diff", "--no-index", MODEL, f"HEAD:{MODEL}")
    assert (ended.code, ended.out) == (0, "")
    assert call("diff", "--no-index", MODEL).code == 2


def test_diff_tells_which_data_files_were_not_compared(bench, call):
    files = {"a.onnx": onnx(graph(outside("w", "f32", (4,), {"location": "a.data"}))), "a.data": bytes(16)}
    call("track", "*.onnx", "*.data")
    for name, content in files.items():
        bench.write(name, content)
    call("add", ".")
    call("commit", "--quiet", "-m", "with data")
    bench.write("a.data", bytes(15) + b"1")
    call("add", "a.data")
    call("commit", "--quiet", "-m", "other data")
    ended = call("diff", "HEAD~1:a.onnx", "HEAD:a.onnx")
    assert ended.err == ""
    assert ended.out.splitlines()[2] == "parameters  1 of 1 tensor moved, 0 beyond epsilon"
    bench.git("rm", "--quiet", "a.data")
    call("commit", "--quiet", "-m", "without data")
    for arguments in (("HEAD~1:a.onnx", "HEAD:a.onnx"), ("--no-index", "HEAD~1:a.onnx", "a.onnx")):
        ended = call("diff", *arguments)
        assert ended.err.endswith("a.onnx: a.data, which the model takes, is missing\n")
        assert "  - w  f32 [4]  16 B" in ended.out
    assert json.loads(call("diff", "HEAD~1:a.onnx", "HEAD:a.onnx", "--json").out)["missing"] == ["HEAD:a.onnx: a.data"]
    (bench.root / "folder").mkdir()
    bench.write("folder/a.onnx", files["a.onnx"])
    assert "warning: a.data, which the model takes, is missing" in call("id", "folder").err


def test_diff_shows_some_of_what_changed_beside_the_tensors(bench, call):
    for number in range(2):
        metadata = {f"key {key}": f"{number} {'x' * 100}" for key in range(25)}
        save_file({"a": numpy.zeros(2, "f4")}, bench.root / MODEL, metadata)
        call("add", MODEL)
        call("commit", "--quiet", "-m", "metadata")
    lines = call("diff", "HEAD~1", "HEAD").out.splitlines()
    assert lines[0] == f"{MODEL}: same tensors, the rest of the file is another"
    assert len(lines) == 1 + 20 + 1
    shown = rf"{'x' * 58}\.\.\."
    assert all(re.fullmatch(rf"  metadata key \d+: 0 {shown} -> 1 {shown}", line) for line in lines[1:21])
    assert lines[-1] == "  metadata: 5 more differ"
    report = json.loads(call("diff", "HEAD~1", "HEAD", "--json").out)
    assert len(report["files"][0]["metadata"]) == 25


def test_what_belongs_to_a_model_and_is_not_read_is_told(bench, call):
    bench.write("m/a.safetensors", network())
    bench.write("m/old/a.safetensors", network())
    listed, identified = call("ls", "m"), call("id", "m")
    assert (listed.code, identified.code) == (0, 0)
    assert listed.err == identified.err == "not read: old/\n"
