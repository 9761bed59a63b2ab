"""What people read."""

from __future__ import annotations

import pytest

from lamella.cli.group import COMMANDS, SECTIONS
from lamella.testing.models import model, network, spec
from tests.e2e.workbench import PROGRAM, run

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
    assert call("diff", "HEAD~1", "HEAD").out == (
        f"{MODEL}: 1 changed, 1 added, 1 removed, 1 reshaped of 4 tensors\n"
        "  ~ changed  f32 [3]  12 B\n"
        "  ! reshaped  f16 [2, 2]  8 B, was f32 [4]\n"
        "  + new  f32 [6]  24 B\n"
        "  - gone  f32 [5]  20 B\n"
    )
    assert call("diff", "HEAD~1..HEAD", "--stat").out.count("\n") == 1


def test_diff_says_where_only_the_container_differs(bench, call):
    bench.write(MODEL, network("a note in the header", layer_1_weight=1))
    assert call("diff").out == f"{MODEL}: same weights, other container\n"


def test_diff_says_when_nothing_differs_and_its_exit_code_can_say_it_too(bench, call):
    ended = call("diff", "HEAD")
    assert (ended.code, ended.out, ended.err) == (0, "", "no model file differs between HEAD and worktree\n")
    assert call("diff", "HEAD", "--exit-code").code == 0
    assert call("diff", "HEAD~1", "--exit-code").code == 1


def test_three_dots_compare_with_what_both_come_from(bench, call):
    bench.git("switch", "--quiet", "--create", "side", "HEAD~1", "--force")
    bench.commit(MODEL, network(layer_3_bias=1))
    assert "2 changed" in call("diff", "main..side").out
    assert call("diff", "main...side").out == f"{MODEL}: 1 changed of 8 tensors\n  ~ layer.3.bias  f32 [4, 6]  96 B\n"
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
