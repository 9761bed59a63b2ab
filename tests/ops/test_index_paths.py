"""A file may be called as Git calls the stages of its index, and is still the file of that name."""

from __future__ import annotations

import pytest

from lamella.core.errors import NotFoundError
from lamella.ops.diff import diff
from lamella.ops.show import list_files, show
from lamella.ops.status import status
from lamella.testing.models import network

PLAIN = "a.safetensors"


@pytest.mark.parametrize("stage", range(4))
def test_a_name_that_looks_like_a_stage_is_a_name(bench, repository, stage):
    staged_alike = f"{stage}:{PLAIN}"
    bench.commit(PLAIN, network())
    bench.commit(staged_alike, network(layer_1_bias=1))
    kept = repository.manifest("", staged_alike)
    assert kept == repository.manifest("HEAD", staged_alike) != repository.manifest("", PLAIN)
    assert {file.path: file.model_id for file in list_files(repository)}[staged_alike] == kept.model_id()
    bench.write(staged_alike, network())
    for changes in (status(repository).unstaged, diff(repository, []).files):
        assert [(change.path, change.what, change.count("changed")) for change in changes] == [
            (staged_alike, "changed", 1)
        ]


def test_the_sides_of_a_conflict_are_shown_by_their_stages(bench, repository):
    bench.commit(PLAIN, network())
    assert show(repository, f":0:{PLAIN}").model_id == show(repository, f":{PLAIN}").model_id
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(PLAIN, network(layer_1_bias=1))
    bench.git("switch", "--quiet", "main")
    bench.commit(PLAIN, network(layer_1_bias=2))
    bench.git("config", "--remove-section", "merge.lamella")
    assert bench.try_git("merge", "other").code == 1
    for stage, revision in ((1, "main~1"), (2, "main"), (3, "other")):
        assert show(repository, f":{stage}:{PLAIN}").model_id == show(repository, f"{revision}:{PLAIN}").model_id
    with pytest.raises(NotFoundError) as caught:
        show(repository, ":3:none.safetensors")
    assert caught.value.kind == "path-unknown"
