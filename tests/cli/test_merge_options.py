"""Options of `lamella merge` that do not go together: refused by name, and nothing is done."""

from __future__ import annotations

import dataclasses

import pytest

from lamella.cli.commands.merge import command
from lamella.cli.merging.asked import Asked
from lamella.core.errors import UsageError

RECIPE = "models: [{model: HEAD:model.safetensors}]\nmerge_method: passthrough\n"

AVERAGE = ("main", "--into", "prod", "--ema", "0.9")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*AVERAGE, "--dry-run"), "--dry-run is not for a running average"),
        ((*AVERAGE, "--squash"), "--squash is not for a running average"),
        ((*AVERAGE, "--opposition", "0"), "--opposition is not for a running average"),
        ((*AVERAGE, "--abort"), "--abort is not for a running average"),
        (("main", "one", "--into", "prod", "--ema", "0.9"), "a running average takes one revision at a time"),
        (("main", "one", "--no-ff"), "--no-ff is not for several commits"),
        (("main", "one", "--dry-run", "--all"), "--all is not for several commits"),
        (("main", "one", "--dry-run", "--evaluate", "true"), "--evaluate is not for several commits"),
        (("one", "--dry-run", "--evaluate", "true"), "--evaluate is not for --dry-run"),
        (("one", "--evaluate", "true", "--squash"), "--evaluate is not for --squash"),
        (("--replay", "HEAD", "--strategy", "ties"), "--strategy is not for --replay"),
        (("--replay", "HEAD", "--into", "prod"), "--into is not for --replay"),
        (("--continue", "--dry-run"), "--dry-run is not for --continue"),
        (("--continue", "--message", "mine"), "--message is not for --continue"),
        (("--abort", "--evaluate", "true"), "--evaluate is not for --abort"),
        (("recipe.yml", "--out", "x.safetensors", "--into", "prod"), "--into is not for a recipe"),
        (("recipe.yml", "--out", "x.safetensors", "--no-commit"), "--no-commit is not for a recipe"),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused(bench, call, arguments, said):
    bench.write("recipe.yml", RECIPE.encode())
    bench.git("branch", "one", "HEAD~1")
    bench.git("branch", "prod", "HEAD~1")
    before = bench.git("for-each-ref"), bench.git("status", "--porcelain")
    refused = call("merge", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: {said}")
    assert (bench.git("for-each-ref"), bench.git("status", "--porcelain")) == before


NAMES = [field.name for field in dataclasses.fields(Asked) if field.name not in ("commits", "as_json", "quiet")]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_can_be_refused_and_is_named_as_it_is_spelled(name):
    spelled = {option.name: option.opts for option in command.params} | {"git_options": ["--squash"]}
    given = {field.name: None for field in dataclasses.fields(Asked)} | {"commits": (), "git_options": ()}
    given[name] = ("--squash",) if name == "git_options" else 0.0
    with pytest.raises(UsageError, match=" is not for nothing") as refused:
        Asked(**given).refuse_others("nothing")
    assert refused.value.message.split()[0] in spelled[name]
    Asked(**given).refuse_others("nothing", name)


def test_what_ends_like_a_recipe_is_merged_as_a_branch_by_its_commit(bench, call):
    bench.git("branch", "fix.yml")
    refused = call("merge", "fix.yml", "--out", "x.safetensors")
    assert (refused.code, "a branch of that name is fix.yml~0" in refused.err) == (3, True)
    assert call("merge", "fix.yml~0").out == "already up to date\n"
