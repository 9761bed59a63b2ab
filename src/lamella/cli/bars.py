"""Progress bars in bytes: drawn after half a second of work, on a terminal only."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from lamella.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PATIENCE_SECONDS = 0.5


class TerminalProgress:
    """A listener that draws one bar for each piece of work, on stderr, and leaves nothing behind."""

    def __init__(self) -> None:
        self._label = ""
        self._total = 0
        self._done = 0
        self._started = 0.0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total_nbytes: int) -> None:
        """Begin a piece of work."""
        self.finish()
        self._label, self._total, self._done, self._started = label, total_nbytes, 0, time.monotonic()

    def advance(self, nbytes: int) -> None:
        """Move the bar, and draw it first where the work turns out to be long."""
        self._done += nbytes
        if self._bar is None and time.monotonic() - self._started >= PATIENCE_SECONDS:
            self._draw()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._label, total=self._total or None, completed=self._done)
        self._bar.start()


def progress_for(setting: str | None, *, quiet: bool = False) -> Progress:
    """Return the listener for this run: a bar on a terminal, silence elsewhere.

    `setting` is LAMELLA_PROGRESS: ``never`` and ``0`` silence the bar, ``always`` and ``1`` draw it anywhere.
    """
    if quiet or setting in ("never", "0"):
        return SILENT
    if setting in ("always", "1") or sys.stderr.isatty():
        return TerminalProgress()
    return SILENT
