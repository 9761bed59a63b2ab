"""What `lamella version` says of the kernels."""

from __future__ import annotations

import json

import pytest

from lamella.cli.direct import version
from lamella.codec import kernels as coding
from lamella.model import kernels as measuring


def test_with_both_compiled_kernels_they_are_native(capsys):
    assert version.run([]) == 0
    assert "kernels native" in capsys.readouterr().out


@pytest.mark.parametrize("room", [coding, measuring], ids=["codec", "model"])
def test_one_missing_compiled_kernel_is_named(monkeypatch, capsys, room):
    monkeypatch.setattr(room, "IS_NATIVE", False)
    version.run([])
    assert "kernels plain Python" in capsys.readouterr().out
    version.run(["--json"])
    assert json.loads(capsys.readouterr().out)["native"] is False
