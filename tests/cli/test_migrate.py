"""What `migrate` and `import` say."""

from __future__ import annotations

import json

from lamella.testing.models import network
from tests.e2e.lfsbench import ATTRIBUTES, pointer


def test_migrate_says_what_it_would_do_what_it_did_and_how_to_go_back(bench, call):
    bench.write(".gitattributes", ATTRIBUTES.replace("safetensors", "pt").encode())
    bench.write("gone.pt", pointer(b"gone"))
    bench.git("add", ".")
    bench.git("commit", "--quiet", "--message", "pointer")
    planned = call("migrate", "--dry-run")
    assert (planned.code, planned.out) == (
        0,
        "would rewrite 1 of 3 commits, 1 reference\n0 versions of model files, 0 B\n",
    )
    assert "gone.pt: sha256:" in planned.err
    assert "is not here; its pointer stays" in planned.err
    assert "hint: `git lfs fetch --all`" in planned.err
    done = call("migrate")
    assert "the old commits are kept under refs/lamella/before-migrate/1" in done.out
    assert "hint: to go back, `git reset --hard refs/lamella/before-migrate/1/heads/BRANCH`" in done.err
    assert call("migrate", "--include", "*.none").out == "nothing to take over in 3 commits\n"


def test_import_lists_the_commits(bench, call):
    for step in (1, 2):
        bench.write(f"../run/step-{step}/m.safetensors", network(layer_0_bias=step))
    lines = call("import", "../run", "--as", "m").out.splitlines()
    assert lines[0] == "made 2 commits on main, files in m"
    assert [line.split()[1] for line in lines[1:3]] == ["step-1", "step-2"]
    assert bench.read("m/m.safetensors") == network(layer_0_bias=2)
    assert json.loads(call("import", "../run", "--dry-run", "--json").out)["path"] == "run"


def test_what_cannot_be_is_refused(bench, call, tmp_path, monkeypatch):
    (tmp_path / "project/.dvc").mkdir(parents=True)
    assert "history of its own" in call("import", str(tmp_path / "project")).err
    assert "exclude each other" in call("migrate", "--include-ref", "main", "--everything").err
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    for command in (["migrate"], ["import", "."]):
        assert call(*command).code == 2
    assert not (tmp_path / "nowhere/.git").exists()
