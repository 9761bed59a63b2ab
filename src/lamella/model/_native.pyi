from collections.abc import Sequence
from typing import Any

from lamella.core.buffers import Buffer

def measure(
    before: Buffer,
    dtype_before: str,
    after: Buffer,
    dtype_after: str,
    count: int,
    epsilon: float,
    rows: Any = None,
    row_items: int = 0,
    row_begin: int = 0,
) -> tuple[Any, ...]: ...
def survey(data: Buffer, dtype: str, count: int) -> tuple[Any, ...]: ...
def decode(data: Buffer, dtype: str, count: int, out: Any) -> None: ...
def count_values(data: Buffer, dtype: str, count: int, counts: Any) -> None: ...
def encode(doubles: Buffer, dtype: str, count: int, out: Any) -> None: ...
def weighted_sum(
    sides: Sequence[Buffer], weights: Sequence[float], dtype: str, count: int, out: Any, keep_equal: bool
) -> int: ...
def ordered_mean(sides: Sequence[Buffer], dropped: int, dtype: str, count: int, out: Any) -> int: ...
def elect(
    base: Buffer,
    sides: Sequence[Buffer],
    weights: Sequence[float],
    thresholds: Sequence[float],
    scale: float,
    normalize: bool,
    dtype: str,
    count: int,
    out: Any,
) -> tuple[tuple[int, ...], int, int, int, int, tuple[float, ...]]: ...
def gram(base: Buffer | None, sides: Sequence[Buffer], dtype: str, count: int) -> tuple[float, ...]: ...
def count_magnitudes(
    base: Buffer | None, side: Buffer, dtype: str, count: int, prefix: int | None, counts: Any
) -> None: ...
def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> None: ...
