"""`lamella health` as people and programs read it."""

from __future__ import annotations

import json

import numpy
import pytest
from safetensors.numpy import save

MODEL = "model.safetensors"


@pytest.fixture
def sick(bench):
    """Return a repository whose last version has an error, a warning and notes."""
    noise = numpy.random.default_rng(4)
    arrays = {f"h.{number}.weight": noise.standard_normal((64, 64)).astype("f4") for number in range(5)}
    arrays |= {f"h.{number}.bias": numpy.zeros(64, "f4") for number in range(5)} | {"steps": numpy.array(1)}
    bench.commit(MODEL, save(arrays), "healthy")
    arrays["h.2.weight"] = arrays["h.2.weight"] * 100
    arrays["h.3.weight"][0, :2] = numpy.nan
    bench.commit(MODEL, save(arrays), "sick")
    return bench


def test_findings_of_one_kind_stand_together_the_worst_first(sick, call):
    ended = call("health", f"HEAD:{MODEL}", "--against", "HEAD~1")
    assert ended.code == 0
    assert ended.out == (
        f"HEAD:{MODEL}: 10 tensors of 11, 113 KiB read, against HEAD~1:{MODEL}\n"
        "error: not-finite\n"
        "  h.3.weight  2 NaN and 0 infinite of 4,096 elements\n"
        "  go back to the last version without them, and lower the learning rate or clip gradients\n"
        "warning: norm-jump\n"
        "  h.2.weight  the norm is 100 times what it was, that of its like 1 times\n"
        "  look at the gradients of this layer, or take it from the version before\n"
        "note: constant\n"
        "  h.0.bias  all 64 elements are 0\n"
        "  h.1.bias  all 64 elements are 0\n"
        "  h.2.bias  all 64 elements are 0\n"
        "  and 2 more\n"
        "  see whether this was trained, or loaded, at all\n"
        "1 error, 1 warning, 5 notes\n"
    )
    assert ended.err == "1 tensor without floats not looked at\n"
    assert "h.4.bias" in call("health", MODEL, "--all").out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((f"HEAD:{MODEL}", "--exit-code"), 1),
        ((f"HEAD~1:{MODEL}", "--exit-code"), 0),
        ((f"HEAD~1:{MODEL}", "--fail-on", "note"), 1),
        ((f"HEAD~1:{MODEL}", "--fail-on", "note", "--skip", "constant"), 0),
        ((f"HEAD~1:{MODEL}", "--fail-on", "warning"), 0),
        ((f"HEAD:{MODEL}", "--skip", "not-finite", "--fail-on", "warning", "--against", "HEAD~1"), 1),
        ((f"HEAD:{MODEL}", "--skip", "nothing"), 2),
    ],
)
def test_the_exit_code_can_be_a_gate(sick, call, options, code):
    assert call("health", *options).code == code


@pytest.mark.parametrize("against", ["HEAD~1", f"HEAD~1:{MODEL}", "../before.safetensors"])
def test_a_revision_alone_stands_for_the_same_path(sick, call, against):
    (sick.root.parent / "before.safetensors").write_bytes(save({"h.2.weight": numpy.ones((64, 64), "f4")}))
    ended = call("health", MODEL, "--against", against, "--json")
    report = json.loads(ended.out)
    assert report["against"] is not None
    assert "norm-jump" in {one["check"] for one in report["findings"]}


def test_the_project_says_what_fails_a_model(sick, call):
    (sick.root / ".lamella").mkdir(exist_ok=True)
    settings = sick.root / ".lamella/config.toml"
    settings.write_text('[health]\nfail-on = "note"\n')
    assert call("health", f"HEAD~1:{MODEL}", "--exit-code").code == 1
    assert call("health", f"HEAD~1:{MODEL}", "--exit-code", "--fail-on", "warning").code == 0
    assert call("health", f"HEAD~1:{MODEL}").code == 0
    settings.write_text('[health]\nfail-on = "note"\nskip = ["constant"]\n')
    assert call("health", f"HEAD~1:{MODEL}", "--exit-code").code == 0
    settings.write_text('[health]\nskip = ["colour"]\n')
    assert call("health", f"HEAD~1:{MODEL}").code == 2


def test_a_model_of_a_folder_below_is_found_from_there(sick, call, monkeypatch):
    sick.commit("below/model.safetensors", sick.read(MODEL), "below")
    monkeypatch.chdir(sick.root / "below")
    assert call("health", MODEL, "--against", "HEAD", "--skip", "not-finite", "--fail-on", "warning").code == 0


def test_nothing_wrong_is_said(sick, call):
    ended = call("health", f"HEAD~1:{MODEL}", "--skip", "constant")
    assert ended.out.splitlines()[-1] == "healthy"
    sick.write("steps.safetensors", save({"steps": numpy.array(1)}))
    assert call("health", "steps.safetensors").out.splitlines()[-1] == "nothing to look at"
