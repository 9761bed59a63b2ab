"""Files that would run code where their framework loads them: readers name the code, and nothing of it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.workbench import Workbench
from tests.formats.gadgets import gadgets

ROOT = Path(__file__).parents[2]
GADGETS = gadgets()


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """What the readers and `add` found in a repository of gadgets, and what was done meanwhile."""
    root = tmp_path_factory.mktemp("gadgets")
    bench = Workbench(root)
    bench.git("init", "--quiet")
    bench.lamella("init")
    bench.lamella("track", "*.pt", "*.pth")
    command = [sys.executable, "-m", "tests.formats.audited"]
    ended = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert not list(root.glob("gadget*"))
    return json.loads(ended.stdout)


def test_there_are_enough_gadgets():
    assert len(GADGETS) >= 120


def test_nothing_is_done_but_reading(audited):
    assert audited["alone"] == []


def test_nothing_is_done_but_adding(audited):
    *done, last = audited["done"]
    assert last.startswith("compile (b'1'"), "nobody was listening"
    assert done == []


@pytest.mark.parametrize("suffix", ["pt", "pth"])
@pytest.mark.parametrize("number", range(len(GADGETS)), ids=GADGETS)
def test_code_is_named_or_the_file_refused(audited, number, suffix):
    wanted = list(GADGETS.values())[number][1]
    path = f"{number}.{suffix}"
    if wanted is None:
        assert audited["found"][path] is None
        assert audited["reported"][path] == []
    else:
        assert (wanted in audited["found"][path]) if wanted else audited["found"][path] == []
        assert audited["reported"][path] == audited["found"][path]
