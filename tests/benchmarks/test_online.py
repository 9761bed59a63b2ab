"""The benchmark of a running average: it learns, goes back, and tells what its rounds took."""

from __future__ import annotations

from benchmarks import online


def test_a_few_rounds_are_learnt_rolled_back_and_told(tmp_path, git_environment, monkeypatch):
    monkeypatch.setattr(online, "BETWEEN_ROLLBACKS", 2)
    monkeypatch.setattr(online, "BACK", 1)
    timings = online.learn(tmp_path / "repository", 3)
    assert {what: len(rounds) for what, rounds in timings.seconds.items()} == {
        "commit": 3, "update": 3, "restore": 3, "rollback": 1
    }  # fmt: skip
    rows = {(row.measure, row.unit): row.value for row in online.measured(tmp_path / "repository", timings)}
    assert 0 < rows["store, of all versions", "share"] < 1
    assert rows["restore, first 100", "ms"] > 0
