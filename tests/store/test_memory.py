"""A tensor passes through the store without being held, however large it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lamella
from lamella.core.limits import MIB
from tests.store import large


@pytest.mark.parametrize("threads", [1, 2])
def test_a_tensor_of_256_mib_is_added_and_read_in_bounded_memory(tmp_path, threads):
    sources = os.fspath(Path(lamella.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-W", "error", large.__file__, os.fspath(tmp_path / "store"), str(threads)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": sources},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 64 * MIB
