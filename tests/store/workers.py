"""The threads of a store, which end by themselves."""

from __future__ import annotations

import threading
import time


def no_worker_stays() -> bool:
    """Say whether all of them end, which takes them a moment."""
    return any(not _workers() or time.sleep(0.01) for _ in range(500))


def _workers() -> int:
    return sum(thread.name.startswith("lamella") for thread in threading.enumerate())
