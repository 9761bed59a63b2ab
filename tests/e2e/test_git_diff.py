"""What plain Git shows of model files: `git diff` by the diff driver, `git log -p` line by line."""

from __future__ import annotations

import shutil
import subprocess

from lamella.testing.models import network

MODEL = "model.safetensors"


def test_git_diff_says_what_changed(bench):
    bench.commit(MODEL, network())
    bench.write(MODEL, network(layer_1_bias=1))
    shown = bench.git("diff")
    assert shown.startswith(f"diff --lamella a/{MODEL} b/{MODEL}\n")
    assert "parameters  1 of 8 tensors moved" in shown
    assert "layer.1.bias" in shown
    bench.lamella("add", MODEL)
    assert bench.git("diff") == ""
    assert bench.git("diff", "--cached") == shown


def test_git_log_shows_a_line_for_each_tensor_that_changed(bench):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_bias=1))
    shown = bench.git("log", "-p", "-1", "--format=", "--unified=0").splitlines()
    tensors = [line for line in shown if "layer." in line and not line.startswith("@@")]
    assert [line[0] for line in tensors] == ["-", "+"]
    assert all("layer.1.bias f32 " in line for line in tensors)
    assert "1 of 8 tensors moved" in bench.git("log", "-p", "-1", "--ext-diff", "--format=")


def test_a_file_on_one_side_is_named_with_what_it_is(bench):
    bench.write(MODEL, network())
    bench.lamella("add", MODEL)
    assert "added, safetensors, " in bench.git("diff", "--cached")
    bench.lamella("commit", "-m", "one")
    bench.git("rm", "--quiet", MODEL)
    assert "removed, safetensors, " in bench.git("diff", "--cached")


def test_names_of_strangers_cannot_steer_the_terminal(bench):
    name = "model\x1b[31m.safetensors"
    bench.write(name, network())
    bench.lamella("add", ".")
    shown = bench.git("diff", "--cached")
    assert "[31m.safetensors" in shown
    assert "\x1b" not in shown


def test_a_lost_store_does_not_stop_git(bench):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_bias=1))
    shutil.rmtree(bench.root / ".git" / "lamella")
    shown = bench.git("diff", "HEAD~1", "HEAD")
    assert "layer.1.bias" in shown


def test_a_file_that_was_no_model_before_is_compared_all_the_same(bench):
    bench.write("notes.bin", b"one\n")
    bench.git("add", "notes.bin")
    bench.git("commit", "--quiet", "-m", "one")
    bench.write(".gitattributes", b"*.bin filter=lamella diff=lamella merge=lamella -text\n")
    bench.write("notes.bin", b"two\n")
    assert bench.git("diff", "notes.bin").startswith("diff --lamella a/notes.bin b/notes.bin\n")


def test_a_pager_that_is_left_does_not_make_git_speak_of_a_death(bench):
    bench.commit(MODEL, network())
    bench.write(MODEL, network(layer_1_bias=1))
    ended = subprocess.run(
        ["sh", "-c", "git diff | true"],
        cwd=bench.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
