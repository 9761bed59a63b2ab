"""What programs read of merges: the fields of every report are those of the page, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, weights

PAGE = (Path(__file__).parents[2] / "docs/reference/json.md").read_text(encoding="utf-8")
OURS = weights({"h.0": (2.0, 2.0, 3.0, 4.0)})
THEIRS = weights({"h.0": (1.0, 2.0, 3.0, 6.0)})
RECIPE = b"models: [{model: HEAD:model.safetensors}]\nmerge_method: passthrough\n"


def sections() -> dict[str, dict[str, str]]:
    """Return the tables of the page by their headings: fields, and what they mean."""
    found = {}
    for section in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        title, _, rest = section.partition("\n")
        found[title.strip("`")] = dict(re.findall(r"^\| `(\w+)` \| (\S.*) \|$", rest, re.M))
    return found


TABLES = sections()


def ensure_told(given: dict[str, Any], title: str) -> dict[str, Any]:
    """Check that an object has the fields of a table, and those in its lists the ones that are named there."""
    assert set(given) - {"type", "version"} == set(TABLES[title])
    for field, meaning in TABLES[title].items():
        listed = re.search(r"objects of (.*)$", meaning)
        for one in given[field] if listed and isinstance(given[field], list) else ():
            named = re.sub(r"\([^()]*\)", "", listed[1] if listed else "")
            assert set(one) == set(re.findall(r"`(\w+)`", named)), (title, field)
    return given


def parsed(text: str) -> dict[str, Any]:
    """Return an object that is JSON to every program, so that it has no NaN."""
    found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return found


def printed(call, *command: str, code: int = 0) -> dict[str, Any]:
    ended = call(*command, "--json")
    assert ended.code == code, ended
    report = parsed(ended.out)
    ensure_told(report, report["type"])
    assert report["version"] == 1
    return report


@pytest.fixture
def sides(bench, call):
    """Return a function that makes two branches whose merge goes through, or stops."""

    def make(ours: bytes = OURS, theirs: bytes = THEIRS) -> None:
        branch_off(bench, ours, theirs, weights())

    return make


def test_a_merge_that_stops_and_goes_on(bench, call, sides):
    sides(*OPPOSED)
    found = printed(call, "merge", "other", "--dry-run", code=4)
    (file,) = found["files"]
    ensure_told(file, "A file to be")
    ensure_told(file["found"], "A model file")
    assert {one["dtype"] for one in [ensure_told(one, "A tensor to be") for one in file["tensors"]]} == {"f32"}
    (file,) = printed(call, "merge", "other", code=4)["files"]
    (tensor,) = ensure_told(file, "A model file")["conflicts"]
    ensure_told(tensor, "A tensor in conflict")
    assert all(f"`{name}`" in TABLES["A tensor in conflict"]["score"] for name in tensor["score"])
    assert file["rules"]["strategy"] == "three-way"
    (file,) = printed(call, "conflicts")["files"]
    ensure_told(file["found"], "A model file")
    assert printed(call, "merge", "--abort")["stays"] is False
    printed(call, "merge", "other", code=4)
    assert printed(call, "resolve", "h.0", "--ours")["files"][0]["staged"]
    assert printed(call, "merge", "--continue")["commit"] == bench.git("rev-parse", "HEAD")


def test_a_merge_that_is_looked_at_and_made_again(call, sides):
    sides()
    report = printed(call, "merge", "other", "--evaluate", "true")
    (check,), (evaluation,) = report["checks"], report["evaluations"]
    ensure_told(check, "A check")
    ensure_told(evaluation, "An evaluation")
    assert printed(call, "merge", "--replay", "HEAD")["same"]


def test_merges_of_several_and_into_an_average(bench, call, sides):
    sides()
    bench.git("branch", "prod", "other")
    bench.git("branch", "third", "HEAD")
    assert printed(call, "merge", "other", "third", "--strategy", "linear", "--dry-run")["files"]
    assert printed(call, "merge", "main", "--into", "prod", "--ema", "0.5")["files"]
    assert printed(call, "merge", "third", "other", "--strategy", "linear")["written"] == [MODEL]


def test_a_recipe(bench, call):
    bench.write("recipe.yml", RECIPE)
    assert printed(call, "merge", "recipe.yml", "--dry-run")["written"] is None
    (one, *_) = printed(call, "merge", "recipe.yml", "--out", "x.safetensors")["tensors"]
    assert one["strategy"] is None


@pytest.mark.parametrize("verb", ["cherry-pick", "rebase"])
def test_what_git_prints_is_not_in_the_way(bench, call, sides, verb):
    integers = [weights({"h.0": row}) for row in ((float("nan"),) * 4, (2.0, 2.0, 3.0, 4.0))]
    sides(*integers)
    bench.try_git(verb, "other")
    assert printed(call, "merge", "--abort")["status"] == 0
    bench.try_git(verb, "other")
    assert printed(call, "conflicts")["verb"] == verb
    call("resolve", "h.0", "--theirs")
    assert printed(call, "merge", "--continue")["status"] == 0


def test_the_page_explains_every_outcome_of_a_merge():
    from lamella.ops import merge, merge_preview

    ways = (merge.UP_TO_DATE, merge.FAST_FORWARD, merge.MERGED, merge.READY, merge.STOPPED)
    assert re.findall(r"`([a-z-]+)`", TABLES["merge"]["outcome"]) == list(ways)
    of_files = {merge.MERGED, *(getattr(merge_preview, name) for name in ("ADDED", "REMOVED", "CONFLICT", "UNTOLD"))}
    assert set(re.findall(r"`([a-z-]+)`", TABLES["A file to be"]["outcome"])) == of_files
