"""`init` sets a repository up beside what is there already, and `uninstall` takes that away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Workbench, run

MODEL = "model.safetensors"


@pytest.fixture
def plain(git_repository) -> Workbench:
    """Return a repository that knows nothing of Lamella."""
    return Workbench(git_repository.root)


def snapshot(bench: Workbench) -> dict[str, bytes]:
    """Return all that `init` may write, less the store."""
    git = bench.root / ".git"
    files = [git / "config", git / "info" / "exclude", *(path for path in (git / "hooks").rglob("*") if path.is_file())]
    return {str(path.relative_to(git)): path.read_bytes() for path in files if path.exists()}


def test_a_directory_becomes_a_repository(elsewhere, git_environment):
    for directory in (elsewhere, elsewhere / "not" / "there"):
        ended = run(elsewhere, PROGRAM, "init", str(directory))
        assert ended.code == 0
        assert ended.out.startswith(f"made a Git repository in {directory}\n")
        assert ended.out.endswith("next: `lamella track --models`, then `lamella add` a model\n")
        assert Workbench(directory).git("rev-parse", "--is-inside-work-tree") == "true"


def test_doing_it_again_changes_nothing(plain):
    plain.lamella("init")
    before = snapshot(plain)
    assert plain.lamella("init").startswith(f"already set up in {plain.root}\n")
    assert snapshot(plain) == before


def test_doing_it_again_repairs(plain):
    plain.lamella("init")
    before = snapshot(plain)
    plain.git("config", "filter.lamella.process", "something else")
    (plain.root / ".git/hooks/pre-push").unlink()
    plain.lamella("init")
    assert snapshot(plain) == before
    assert plain.try_lamella("doctor").code == 0


def test_taking_it_away_leaves_no_trace_but_the_store(plain):
    plain.write(".git/hooks/pre-push", b"#!/bin/sh\necho mine\n").chmod(0o755)
    plain.write(".git/hooks/post-merge", b"#!/usr/bin/env python3\nprint('mine')\n").chmod(0o755)
    (plain.root / ".git/info/exclude").write_bytes(b"*.mine \xff\n#no newline")
    before = snapshot(plain)
    plain.lamella("init")
    assert snapshot(plain) != before
    said = plain.lamella("uninstall")
    assert said.endswith(f"the weights stay in {plain.root}/.git/lamella; `lamella init` sets everything up again")
    after = snapshot(plain)
    assert after.pop("info/exclude").rstrip(b"\n") == before.pop("info/exclude")
    assert after == before
    assert plain.lamella("uninstall").startswith("nothing was set up here\n")
    plain.lamella("init")
    assert plain.try_lamella("doctor").code == 0


def test_models_survive_taking_it_away_and_setting_it_up_again(bench):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_bias=1))
    bench.lamella("uninstall")
    assert bench.read(MODEL) == network(layer_1_bias=1)
    bench.lamella("init")
    assert bench.git("status", "--porcelain") == ""
    bench.git("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == network()


@pytest.mark.parametrize("interpreter", [b"#!/bin/sh\n", b"#!/usr/bin/env python3\n"])
def test_hooks_of_the_user_still_run(bench, elsewhere, interpreter):
    shell = interpreter == b"#!/bin/sh\n"
    for name in ("post-checkout", "pre-push"):
        mark = elsewhere / name
        body = f"cat > '{mark}'; echo \"$1\" >> '{mark}'\n" if shell else (
            f"import sys\nopen({str(mark)!r}, 'w').write(sys.stdin.read() + sys.argv[1])\n"
        )  # fmt: skip
        hook = bench.write(f".git/hooks/{name}", interpreter + body.encode())
        hook.chmod(0o755)
    bench.lamella("init")
    bench.git("switch", "--quiet", "--create", "side", env={"LAMELLA_INSIDE": ""})
    assert bench.git("rev-parse", "HEAD") in (elsewhere / "post-checkout").read_text()
    bench.git("init", "--quiet", "--bare", str(elsewhere / "bare"))
    bench.git("push", "--quiet", str(elsewhere / "bare"), "side")
    assert "refs/heads/side" in (elsewhere / "pre-push").read_text()


def test_hooks_that_are_shared_with_other_repositories_are_not_touched(plain, elsewhere):
    plain.git("config", "core.hooksPath", str(elsewhere))
    ended = plain.try_lamella("init")
    assert ended.code == 0
    assert list(elsewhere.iterdir()) == []
    assert f"warning: add to {elsewhere}/pre-push: " in ended.err
    plain.lamella("track", "*.safetensors")
    assert (
        "warning  hooks: not set up: post-checkout, post-merge, pre-push\n"
        f"         hint: run `lamella init`, which says what to add to the hooks in {elsewhere}\n"
    ) in plain.lamella("doctor")
    for note in ended.err.splitlines():
        hook, _, line = note.removeprefix("warning: add to ").partition(": ")
        Path(hook).write_text(f"#!/bin/sh\n{line}\n")
        Path(hook).chmod(0o755)
    assert "ok       hooks: post-checkout, post-merge, pre-push" in plain.lamella("doctor")
    assert plain.try_lamella("init").err == ""
    plain.commit(MODEL, network())
    plain.commit(MODEL, network(layer_1_bias=1))
    assert plain.try_lamella("checkout", "--quiet", "HEAD~1").err == ""
    plain.lamella("uninstall")
    assert len(list(elsewhere.iterdir())) == 3


def test_hooks_in_a_folder_of_the_repository_itself_are_set_up(plain):
    (plain.root / ".git/own-hooks").mkdir()
    plain.git("config", "core.hooksPath", ".git/own-hooks")
    plain.lamella("init")
    assert (plain.root / ".git/own-hooks/pre-push").exists()


def test_in_a_linked_worktree_everything_is_shared(bench, elsewhere):
    bench.git("worktree", "add", "--quiet", str(elsewhere / "linked"))
    linked = Workbench(elsewhere / "linked")
    assert linked.lamella("init").startswith("already set up in ")
    assert "ok       store: " in linked.lamella("doctor")


def test_in_a_bare_repository_it_works(make_repository):
    bare = Workbench(make_repository("bare.git", "--bare").root)
    assert "made the store in" in bare.lamella("init")
    assert bare.lamella("init").startswith("already set up in ")


def test_patterns_are_tracked_listed_and_untracked(plain):
    plain.lamella("init")
    assert plain.lamella("track", "*.safetensors", "my models/*.pt") == (
        "*.safetensors: now kept by lamella\nmy models/*.pt: now kept by lamella"
    )
    assert plain.lamella("track", "*.safetensors") == "*.safetensors: already kept by lamella"
    assert plain.lamella("track") == "*.safetensors\nmy models/*.pt"
    plain.write("my models/a.pt", network())
    plain.lamella("add", ".")
    assert plain.blob(":my models/a.pt").startswith(b"lamella manifest 1\n")
    assert plain.lamella("untrack", "my models/*.pt") == (
        "my models/*.pt: no longer kept by lamella\n"
        "my models/a.pt: in git already, and kept the new way once you `lamella add` it"
    )
    assert plain.lamella("untrack", "nothing") == "nothing: was not kept by lamella"
    assert plain.lamella("track") == "*.safetensors"


def test_paths_are_tracked_as_they_are_named_and_not_told_to_be_where_git_disagrees(plain):
    plain.lamella("init")
    for path in ("w.bin", "deep/w.bin", "models/a.bin", "models/deep/b.bin"):
        plain.write(path, network())
    plain.lamella("track", "./w.bin", "models")
    plain.lamella("add", ".")
    kept = {path for path in plain.git("ls-files").splitlines() if plain.blob(f":{path}").startswith(b"lamella")}
    assert kept == {"w.bin", "models/a.bin", "models/deep/b.bin"}
    plain.write("deep/.gitattributes", b"*.bin -filter\n")
    before = plain.read(".gitattributes")
    refused = plain.try_lamella("track", "deep/w.bin")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: deep/w.bin is left to git by attributes that hold before a pattern here\n")
    assert plain.read(".gitattributes") == before


def test_one_option_tracks_every_format_of_models(plain):
    plain.lamella("init")
    listed = plain.lamella("track", "--models")
    assert "*.safetensors: now kept by lamella\n*.pt: now kept by lamella\n" in listed
    assert "*.gguf filter=lamella diff=lamella merge=lamella -text" in plain.read(".gitattributes").decode()
    assert "already kept by lamella" in plain.lamella("track", "--models", "*.extra")
    assert plain.lamella("track").splitlines()[-1] == "*.extra"


def test_a_model_that_was_added_too_early_can_be_added_again(plain):
    plain.lamella("init")
    plain.write(MODEL, network())
    plain.write("text.bin", b"no model")
    ended = plain.try_lamella("add", ".")
    assert ended.out == "2 other paths added by git\n"
    assert ended.err == (
        f"warning: {MODEL} went into git whole: to keep it here, `lamella track '*.safetensors'` and add it again\n"
    )
    plain.git("commit", "--quiet", "-m", "too early")
    assert plain.lamella("track", "*.safetensors").endswith(
        f"\n{MODEL}: in git already, and kept the new way once you `lamella add` it"
    )
    assert plain.lamella("add", MODEL).startswith(f"{MODEL}: 8 tensors, 9 new objects, ")
    plain.lamella("add", ".")
    plain.git("commit", "--quiet", "-m", "in time")
    assert plain.blob(f"HEAD:{MODEL}").startswith(b"lamella manifest 1\n")
    assert plain.git("status", "--porcelain") == ""
    assert MODEL in plain.lamella("untrack", "*.safetensors")
    plain.git("add", ".")
    assert plain.blob(f":{MODEL}") == network()


def test_doctor_is_content_with_a_fresh_repository(bench):
    ended = bench.try_lamella("doctor")
    assert ended.code == 0
    assert {line.split()[0] for line in ended.out.splitlines()} == {"ok"}
    assert [line.split()[1] for line in ended.out.splitlines()] == [
        "kernels:", "git:", "settings:", "patterns:", "hooks:", "store:", "files:",
    ]  # fmt: skip


def test_doctor_says_what_is_missing_and_changes_nothing(plain):
    before = sorted(plain.root.rglob("*"))
    ended = plain.try_lamella("doctor")
    assert ended.code == 1
    assert "problem  settings: filter.lamella.process, filter.lamella.required not set\n" in ended.out
    assert "problem  store: there is none\n         hint: run `lamella init`\n" in ended.out
    assert sorted(plain.root.rglob("*")) == before


@pytest.mark.parametrize("command", ["/gone/lamella filter-process", "gone filter-process", "'open", ""])
def test_doctor_finds_a_filter_that_git_cannot_start(bench, command):
    bench.git("config", "filter.lamella.process", command)
    ended = bench.try_lamella("doctor")
    assert ended.code == 1
    assert f"problem  settings: Git cannot start `{command}`\n         hint: run `lamella init`\n" in ended.out
    bench.git("config", "filter.lamella.process", f"LANG=C env {PROGRAM} filter-process")
    assert bench.try_lamella("doctor").code == 0


def test_doctor_finds_patterns_wherever_they_stand(plain):
    plain.lamella("init")
    assert "warning  patterns: no file is tracked\n" in plain.lamella("doctor")
    plain.write("sub/notes.txt", b"text")
    run(plain.root / "sub", PROGRAM, "track", "*.bin")
    assert "ok       patterns: *.bin in sub\n" in plain.lamella("doctor")
    (plain.root / ".git/info/attributes").write_text("*.pt filter=lamella\n")
    assert "ok       patterns: *.pt, *.bin in sub\n" in plain.lamella("doctor")


def test_the_filter_without_the_program_fails_and_loses_nothing(bench):
    bench.commit(MODEL, network())
    bench.git("config", "filter.lamella.process", "/gone/lamella filter-process")
    bench.write(MODEL, network(layer_1_bias=1))
    refused = bench.try_git("add", MODEL)
    assert refused.code != 0
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD") == f".gitattributes\n{MODEL}"
    bench.lamella("init")
    bench.git("add", MODEL)
    assert bench.read(MODEL) == network(layer_1_bias=1)


def test_tracking_in_a_sparse_checkout_leaves_what_is_outside_alone(bench):
    for path in ("in/a.bin", "out/b.bin"):
        bench.write(path, network())
    bench.git("add", ".")
    bench.git("commit", "--quiet", "-m", "plain")
    bench.git("sparse-checkout", "set", "in")
    assert "in/a.bin: in git already" in bench.lamella("track", "*.bin")
    assert bench.git("ls-files", "-t", "out") == "S out/b.bin"
    assert bench.git("status", "--porcelain") == " M .gitattributes\n M in/a.bin"


def test_a_file_that_is_only_meant_to_be_added_stays_so(bench):
    bench.write("a.bin", network())
    bench.git("add", "--intent-to-add", "a.bin")
    bench.lamella("track", "*.bin")
    assert bench.git("status", "--porcelain", "a.bin") == " A a.bin"
    bench.git("commit", "--quiet", "--all", "-m", "added")
    assert bench.blob("HEAD:a.bin").startswith(b"lamella manifest 1\n")


def test_listing_patterns_changes_nothing(bench):
    (bench.root / ".gitattributes").unlink()
    assert bench.lamella("track") == ""
    assert not (bench.root / ".gitattributes").exists()
