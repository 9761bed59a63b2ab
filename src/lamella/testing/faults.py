"""Faults on purpose: the power goes, or the system refuses, at any one of the changes that an operation makes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from lamella.core import fsio

Change = tuple[str, str]
"""What `fsio.observe` tells: an operation and a path."""


class PowerCut(BaseException):
    """The process stops here. Not an Exception: nothing may catch it, clean up after it and go on."""


class _Counter:
    def __init__(self, react: Callable[[int, Change], None]) -> None:
        self._react = react
        self._mutex = threading.Lock()
        self.count = 0

    def __call__(self, operation: str, path: str) -> None:
        with self._mutex:
            number = self.count
            self.count += 1
        self._react(number, (operation, path))


@contextlib.contextmanager
def recorded() -> Iterator[list[Change]]:
    """Collect the changes that the block makes, in order."""
    changes: list[Change] = []
    with fsio.observe(lambda operation, path: changes.append((operation, path))):
        yield changes


@contextlib.contextmanager
def power_cut(number: int) -> Iterator[None]:
    """Let the block make `number` changes and none after that; swallow the PowerCut that ends it."""

    def react(count: int, change: Change) -> None:
        if count >= number:
            raise PowerCut(change)

    with fsio.observe(_Counter(react)), contextlib.suppress(PowerCut):
        yield


@contextlib.contextmanager
def refused(number: int, error: int, *, lasting: bool = False) -> Iterator[None]:
    """Refuse the change numbered `number` with the errno `error`; with `lasting`, all that follow too."""

    def react(count: int, change: Change) -> None:
        if count == number or (lasting and count > number):
            raise OSError(error, os.strerror(error), change[1])

    with fsio.observe(_Counter(react)):
        yield


def changes_of(operation: Callable[[], object]) -> list[Change]:
    """Run `operation` undisturbed and return the changes that it made."""
    with recorded() as changes:
        operation()
    return changes
