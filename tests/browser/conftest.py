"""The browser, for every test its own profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import chromium


@pytest.fixture
def browser(tmp_path: Path) -> chromium.Browser:
    return chromium.Browser(chromium.find(), tmp_path)
