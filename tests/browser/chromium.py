"""A real browser without a window, that says what a page has become or what it looks like."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.pages.parsed import Parsed

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
DARK, LIGHT = "0", "1"
"""What Blink calls the two values of prefers-color-scheme."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that keeps what it writes in `folder`; each call is a process of its own."""

    program: str
    folder: Path

    def dump(self, page: str, fragment: str = "", *, scheme: str = LIGHT) -> Parsed:
        """Return the page as it is once its scripts ran, and fail on whatever the console says."""
        done = self._run(page, fragment, scheme, "--dump-dom", "--enable-logging=stderr", "--window-size=1280,1000")
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, "\n".join(said)
        return Parsed(re.sub(r"^<!doctype html>", "", done.stdout, flags=re.IGNORECASE))

    def after(self, page: str, script: str, *, scheme: str = LIGHT) -> Parsed:
        """Return what became of the page after a test's own script ran in it, which the page's policy would forbid."""
        return self.dump(_with(page, script), scheme=scheme)

    def narrow(self, page: str, script: str, width: int) -> dict[str, str]:
        """Return the ``data-`` attributes that a script gave to ``parent.document.body``, in a frame of this width.

        Windows have a least width of their own, and frames have none.
        """
        frame = f'<iframe width="{width}" height="900" srcdoc="{escape(_with(page, script))}"></iframe>'
        (body,) = self.dump(f"<html><head></head><body>{frame}</body></html>").all("body")
        return body

    def screenshot(self, page: str, width: int, height: int, *, scheme: str = LIGHT) -> bytes:
        """Return a picture of the page, as PNG."""
        picture = self.folder / "picture.png"
        self._run(page, "", scheme, f"--screenshot={picture}", f"--window-size={width},{height}", "--hide-scrollbars")
        return picture.read_bytes()

    def _run(self, page: str, fragment: str, scheme: str, *options: str) -> subprocess.CompletedProcess[str]:
        file = self.folder / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [
            self.program,
            "--headless",
            "--disable-gpu",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            f"--user-data-dir={self.folder / 'profile'}",
            "--virtual-time-budget=5000",
            f"--blink-settings=preferredColorScheme={scheme}",
            *options,
            file.as_uri() + (f"#{fragment}" if fragment else ""),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def _with(page: str, script: str) -> str:
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert free != page
    return free.replace("</body>", f"<script>{script}</script></body>")


def find() -> str:
    """Return the browser to test with; to have none is a failure, and no reason to pass."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert found, f"no browser: install Chromium, so that one of {', '.join(PROGRAMS)} is found"
    return found
