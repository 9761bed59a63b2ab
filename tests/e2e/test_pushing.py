"""A push says that the weights stay where they are, and never stops."""

from __future__ import annotations

import pytest

from lamella.testing.models import network
from tests.e2e.workbench import Workbench

LOUD = "lamella: THE WEIGHTS STAY HERE: git pushes the history and the manifests to origin, not the model files\n"


@pytest.fixture
def remote(bench: Workbench, elsewhere) -> Workbench:
    """Return an empty bare repository that is the remote of the bench."""
    bench.git("init", "--quiet", "--bare", str(elsewhere / "remote.git"))
    bench.git("remote", "add", "origin", str(elsewhere / "remote.git"))
    return Workbench(elsewhere / "remote.git")


def test_a_push_says_loudly_that_the_weights_stay(bench, remote):
    bench.commit("model.safetensors", network())
    ended = bench.try_git("push", "--quiet", "origin", "main")
    assert ended.code == 0
    assert ended.err.startswith(LOUD)
    assert f"this store is their only copy: {bench.root}/.git/lamella\n" in ended.err
    assert remote.git("rev-parse", "main") == bench.git("rev-parse", "main")


def test_a_push_of_a_branch_without_models_says_it_too_while_there_are_weights(bench, remote):
    bench.git("branch", "side")
    bench.commit("model.safetensors", network())
    bench.git("switch", "--quiet", "side")
    ended = bench.try_git("push", "--quiet", "origin", "main", "side")
    assert ended.code == 0
    assert ended.err.startswith(LOUD)


def test_a_push_without_any_model_says_nothing(bench, remote):
    bench.write("notes.txt", b"text\n")
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "-m", "notes")
    ended = bench.try_git("push", "--quiet", "origin", "main")
    assert (ended.code, ended.err) == (0, "")
    assert remote.git("rev-parse", "main") == bench.git("rev-parse", "main")


def test_a_push_from_a_clone_without_weights_does_not_claim_to_have_them(bench, remote, elsewhere):
    bench.commit("model.safetensors", network())
    bench.git("push", "--quiet", "origin", "main")
    bench.git("-C", str(elsewhere), "clone", "--quiet", str(remote.root), "clone")
    clone = Workbench(elsewhere / "clone")
    clone.lamella("init")
    clone.git("commit", "--quiet", "--allow-empty", "-m", "empty")
    ended = clone.try_git("push", "--quiet", "origin", "main")
    assert ended.code == 0
    assert "only copy" not in ended.err
    assert (
        "lamella: git pushes the history and the manifests to origin; the weights are not in this clone\n" in ended.err
    )


def test_a_push_is_never_stopped_by_a_broken_program(bench, remote):
    bench.commit("model.safetensors", network())
    hook = bench.root / ".git/hooks/pre-push"
    for broken in ("/gone/lamella", "/bin/false"):
        text = hook.read_text()
        program = next(word for word in text.split() if word.endswith("/lamella") or word == "/bin/false")
        hook.write_text(text.replace(program, broken))
        bench.git("commit", "--quiet", "--allow-empty", "-m", "empty")
        assert bench.try_git("push", "--quiet", "origin", "main").code == 0
    assert remote.git("rev-parse", "main") == bench.git("rev-parse", "main")


def test_a_push_that_the_users_own_hook_refuses_is_refused(bench, remote):
    bench.commit("model.safetensors", network())
    hook = bench.root / ".git/hooks/pre-push"
    hook.unlink()
    bench.write(".git/hooks/pre-push", b"#!/bin/sh\nexit 1\n").chmod(0o755)
    bench.lamella("init")
    ended = bench.try_git("push", "--quiet", "origin", "main")
    assert ended.code == 1
    assert remote.try_git("rev-parse", "--verify", "--quiet", "main").code == 1
