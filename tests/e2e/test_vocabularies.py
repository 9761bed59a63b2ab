"""Two branches each add tokens: by every way of merging, a row is where the tokenizer is told to number its token."""

from __future__ import annotations

import json

import numpy
import pytest
from safetensors.numpy import load, save

MODEL, TOKENIZER = "model.safetensors", "tokenizer.json"
KNOWN = tuple(f"token {row}" for row in range(32))
OURS, THEIRS = ("<ours>", "<both>"), ("<both>", "<theirs>", "<last>")
UNITED = ("<ours>", "<both>", "<theirs>", "<last>")
WARNING = (
    f"{MODEL}: the tokenizer has to number 4 new tokens as the rows are merged: "
    "'<ours>' is 32, '<both>' is 33, '<theirs>' is 34, '<last>' is 35"
)
BODY = numpy.ones((4, 4), "f4")


def model(*added, value=0.0, body=BODY) -> bytes:
    """Return a model in whose tables each row tells its token: old ones by their number, new ones by `value`."""
    table = numpy.repeat(numpy.arange(32, dtype="f4")[:, None], 4, 1)
    new = numpy.array([[value + row] * 4 for row in range(len(added))], "f4").reshape(-1, 4)
    rows = numpy.concatenate([table, new])
    return save({"embed.weight": rows, "body": body, "lm_head.weight": -rows})


def tokenizer(*added) -> bytes:
    numbers = {token: row for row, token in enumerate((*KNOWN, *added))}
    return json.dumps({"model": {"type": "BPE", "vocab": numbers}}).encode()


def put(bench, name, tokens, data) -> None:
    bench.write(TOKENIZER, tokens)
    bench.git("add", TOKENIZER)
    bench.commit(MODEL, data, name)


@pytest.fixture
def grown(make_bench):
    """A repository whose branches main and other both grew the vocabulary; `other` is what is to be merged."""
    bench = make_bench()
    put(bench, "base", tokenizer(), model())
    bench.git("switch", "--quiet", "--create", "other")
    put(bench, "theirs", tokenizer(*THEIRS), model(*THEIRS, value=200.0))
    bench.git("switch", "--quiet", "main")
    put(bench, "ours", tokenizer(*OURS), model(*OURS, value=100.0))
    return bench


def united(bench) -> None:
    found = load(bench.read(MODEL))
    assert found["embed.weight"][:, 0].tolist() == [*range(32), 100.0, (101.0 + 200.0) / 2, 201.0, 202.0]
    assert (found["lm_head.weight"] == -found["embed.weight"]).all()


def numbered(bench) -> None:
    """Resolve the tokenizer as the warning says."""
    bench.write(TOKENIZER, tokenizer(*UNITED))
    bench.git("add", TOKENIZER)


def test_git_merges_rows_by_their_tokens_and_says_how_to_number_them(grown):
    told = grown.try_git("merge", "other")
    assert told.code == 1
    assert told.err.count(f"lamella: {WARNING.replace(': the', ': warning: the', 1)}\n") == 1
    united(grown)
    numbered(grown)
    grown.git("commit", "--quiet", "--no-edit")
    assert "the same bits" in grown.lamella("merge", "--replay", "HEAD")


def test_a_dry_run_the_merge_and_its_replay_agree(grown):
    preview = grown.try_lamella("merge", "other", "--dry-run")
    assert preview.err.count(WARNING) == 1
    assert "embed.weight    f32  [36,4]" in preview.out
    stopped = grown.try_lamella("merge", "other")
    assert stopped.err.count(WARNING) == 1
    united(grown)
    numbered(grown)
    grown.lamella("merge", "--continue")
    assert "the same bits" in grown.lamella("merge", "--replay", "HEAD")


def test_what_is_resolved_later_has_the_same_rows(grown):
    grown.git("switch", "--quiet", "other")
    put(grown, "steps", tokenizer(*THEIRS), model(*THEIRS, value=200.0, body=-BODY))
    grown.git("switch", "--quiet", "main")
    put(grown, "steps", tokenizer(*OURS), model(*OURS, value=100.0, body=3 * BODY))
    assert grown.try_lamella("merge", "other").code == 4
    numbered(grown)
    grown.lamella("resolve", "body", "--ours")
    united(grown)
    grown.lamella("merge", "--continue")
    assert "the same bits" in grown.lamella("merge", "--replay", "HEAD")


def test_several_branches_at_once_are_united_by_tokens(grown):
    grown.git("switch", "--quiet", "--create", "third", "main~1")
    grown.commit(MODEL, model(body=2 * BODY), "third")
    grown.git("switch", "--quiet", "other")
    put(grown, "with the tokenizer of ours", tokenizer(*OURS), model(*OURS, value=200.0))
    grown.git("switch", "--quiet", "main")
    tried = grown.try_lamella("merge", "other", "third", "--dry-run")
    merged = grown.try_lamella("merge", "other", "third")
    warning = (
        f"{MODEL}: the tokenizer has to number 2 new tokens as the rows are merged: '<ours>' is 32, '<both>' is 33"
    )
    assert [one.err.count(warning) for one in (tried, merged)] == [1, 1]
    assert load(grown.read(MODEL))["embed.weight"][:, 0].tolist() == [*range(32), 150.0, 151.0]
    assert "the same bits" in grown.lamella("merge", "--replay", "HEAD")


@pytest.mark.parametrize("verb", ["cherry-pick", "rebase"])
def test_where_the_commits_are_not_known_rows_go_by_position(grown, verb):
    said = grown.try_git(verb, "other")
    assert "warning" not in said.err
    first, second = ([100.0, 101.0], [200.0, 201.0, 202.0])
    rows = load(grown.read(MODEL))["embed.weight"][:, 0].tolist()
    assert rows == [*range(32), *(first + second if verb == "cherry-pick" else second + first)]


def test_a_tokenizer_that_cannot_be_read_is_told_and_rows_go_by_position(grown):
    put(grown, "broken", b"{", model(*OURS, value=100.0))
    told = grown.try_git("merge", "other")
    expected = "warning: rows that were added go by position: tokenizer.json says no vocabulary: it is no JSON"
    assert told.err.count(expected) == 1
    assert load(grown.read(MODEL))["embed.weight"][32:, 0].tolist() == [100.0, 101.0, 200.0, 201.0, 202.0]
