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
def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> None: ...
