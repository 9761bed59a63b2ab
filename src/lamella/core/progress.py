"""How a long work tells somebody how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener to one piece of work after another.

    Calls come from the thread that runs the op. `start` opens a piece of `total` bytes (0: unknown) and closes the one
    before; `advance` may be called any number of times and may pass the total; `finish` may be called twice.
    A listener never raises.
    """

    def start(self, label: str, total_nbytes: int) -> None:
        """Begin a piece of work called `label`."""
        ...

    def advance(self, nbytes: int) -> None:
        """Say that `nbytes` more are done."""
        ...

    def finish(self) -> None:
        """Say that the current piece is over."""
        ...


class Silent:
    """The listener that does nothing."""

    def start(self, label: str, total_nbytes: int) -> None:
        """Ignore the piece of work."""

    def advance(self, nbytes: int) -> None:
        """Ignore the bytes."""

    def finish(self) -> None:
        """Ignore the end."""


SILENT = Silent()
