"""After a merge, only what was computed is read, and only what no side had is told."""

from __future__ import annotations

from contextlib import ExitStack

import numpy
import pytest
from safetensors.numpy import save_file

from lamella.core.errors import FormatError, UsageError
from lamella.core.graphs import LAYERS, Graph, Node
from lamella.model.health import ERROR, WARNING
from lamella.model.health_checks.builtin import CHECKS
from lamella.ops.after_merge import MergeChecks, check_merged
from lamella.repo.model_files import model_at
from lamella.repo.stored_model_file import StoredModelFile

MODEL = "model.safetensors"
DRAW = numpy.random.default_rng(2)
BASE = {f"h.{number}.weight": DRAW.standard_normal((64, 96)).astype("f4") for number in range(4)} | {
    "steps": numpy.array(7),
}  # fmt: skip
CHANGE = DRAW.standard_normal((64, 96)).astype("f4") * numpy.float32(0.1)


def commit(bench, name, **arrays):
    """Commit the base with some tensors changed, of which dots are underscores, and tag it."""
    save_file(BASE | {key.replace("_", "."): array for key, array in arrays.items()}, bench.root / MODEL)
    bench.commit(MODEL, bench.read(MODEL))
    bench.git("tag", name)


def check(repository, *, base="base", sides=("ours", "theirs"), **options) -> MergeChecks:
    with ExitStack() as closing:
        named = ["merged", *([base] if base else []), *sides]
        models = [model_at(repository, name, MODEL) for name in named]
        for model in models:
            closing.callback(model.close)
        return check_merged(models[0], models[1] if base else None, models[1 + bool(base) :], **options)


@pytest.fixture
def sides(bench):
    commit(bench, "base")
    commit(bench, "ours", h_0_weight=BASE["h.0.weight"] + CHANGE)
    commit(bench, "theirs", h_0_weight=BASE["h.0.weight"] - 0.9 * CHANGE, h_3_weight=CHANGE)
    return bench


def test_a_merge_that_only_took_sides_is_not_read(sides, repository):
    commit(sides, "merged", h_0_weight=BASE["h.0.weight"] + CHANGE, h_3_weight=CHANGE)
    report = check(repository)
    assert (report.computed, report.nbytes, report.findings) == (0, 0, ())


def test_changes_that_cancel_are_told_and_nothing_else_is_read(sides, repository):
    commit(sides, "merged", h_0_weight=BASE["h.0.weight"] + 0.05 * CHANGE, h_3_weight=CHANGE)
    report = check(repository)
    assert [(one.check, one.severity, one.where) for one in report.findings] == [("norm-shrink", WARNING, "h.0.weight")]
    assert report.findings[0].evidence["ratio"] == pytest.approx(0.05 / 0.95, rel=1e-3)
    assert (report.computed, report.nbytes) == (1, (1 + 4) * 64 * 96 * 4)
    assert check(repository, skip={"norm-shrink"}).findings == ()
    assert check(repository, threads=1) == report


def test_without_a_base_norms_are_those_of_the_sides(sides, repository):
    commit(sides, "merged", h_0_weight=0.1 * BASE["h.0.weight"], h_3_weight=CHANGE)
    (found,) = check(repository, base=None).findings
    assert found.check == "norm-shrink"
    assert found.message.startswith("the tensor has 0.")


def test_only_what_no_side_had_is_told(sides, repository):
    broken = BASE["h.0.weight"] + CHANGE
    broken[3, 3] = numpy.nan
    commit(sides, "merged", h_0_weight=broken, h_3_weight=CHANGE)
    (found,) = check(repository).findings
    assert (found.check, found.severity, found.where) == ("not-finite", ERROR, "h.0.weight")
    commit(sides, "ours-broken", h_0_weight=numpy.full((64, 96), numpy.nan, "f4"))
    assert check(repository, sides=("ours-broken", "theirs")).findings == ()


def test_a_tensor_that_the_sides_lack_or_have_otherwise_is_only_examined(sides, repository):
    commit(sides, "merged", h_0_weight=numpy.concatenate([CHANGE, CHANGE[:8]]), new_weight=CHANGE.T.copy())
    report = check(repository)
    assert (report.computed, report.nbytes, report.findings) == (2, (72 + 64) * 96 * 4, ())


def test_a_graph_that_does_not_fit_is_told(sides, repository):
    commit(sides, "merged")
    nodes = [
        Node(name, "Linear", parameters=(("weight", f"{name}.weight"),), shape=(None, 64)) for name in ("h.0", "x")
    ]
    graph = Graph(LAYERS, "torch", (), (), tuple(nodes))
    (found,) = check(repository, recorded=graph).findings
    assert (found.check, found.severity, found.message) == (
        "graph", WARNING, "x takes x.weight as its weight, which is gone"
    )  # fmt: skip
    assert check(repository, recorded=graph, skip={"graph"}).findings == ()


def test_a_graph_in_the_file_that_cannot_be_read_is_told_where_the_sides_have_none(sides, repository, monkeypatch):
    def described(file):
        if file.manifest == merged:
            raise FormatError("too many nodes", kind="graph-malformed")

    commit(sides, "merged", h_3_weight=CHANGE)
    merged = repository.manifest("merged", MODEL)
    monkeypatch.setattr(StoredModelFile, "graph", described)
    assert [one.message for one in check(repository, skip=CHECKS).findings if one.check == "graph"] == [
        "too many nodes"
    ]
    merged = None
    assert not [one for one in check(repository, skip=CHECKS).findings if one.check == "graph"]


def test_an_unknown_check_is_refused(sides, repository):
    commit(sides, "merged")
    with pytest.raises(UsageError, match="there is no check 'nothing'"):
        check(repository, skip={"nothing"})
