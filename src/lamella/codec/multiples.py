"""Floats as small multiples of a step: what quantised rows or groups become when they are widened again.

A quantised weight is an integer of eight bits or fewer times the scale of its row. Sixty-four items in a row share
theirs nearly always, so a block of so many has one step and a factor for each item, and no shape has to be known.
Blocks that are no such multiples stay as they are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from lamella.codec.delta_format import LAYOUTS
from lamella.codec.planes import Planes
from lamella.codec.tables import malformed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

BLOCK_ITEMS = 64
MOST_FACTOR = 127
MINUS_ZERO = -128
"""The factor that stands for -0, which rounding in floats leaves behind and no integer has."""
LEAST_STEP, MOST_STEP = 2.0**-126, 2.0**119
"""Steps are normal numbers of fp32, and so is every multiple: no flag of the processor rounds those another way."""
HEAD = struct.Struct("<BII")

_LAYOUTS_OF_WIDTH = {2: (1, 2), 4: (3,)}
_TRIED_BLOCKS = 8
_LEAST_SHARE = 4
"""One block in so many must be multiples."""
_PLANES = Planes()


def encode_multiples(items: memoryview, item_nbytes: int) -> bytes:
    """Return layout, lengths, steps, factors and the blocks left as they are; nothing where hardly any is multiples."""
    for layout in _LAYOUTS_OF_WIDTH.get(item_nbytes, ()):
        if _promising(items, layout):
            return _encode(items, layout)
    return b""


def decode_multiples(body: memoryview, item_nbytes: int, out: memoryview) -> None:
    """Fill `out`, whole items; raise IntegrityError (payload-malformed) for what no encoder made."""
    import numpy as np

    if len(body) < HEAD.size:
        raise malformed("the payload of a chunk ends in its head")
    layout, steps_nbytes, factors_nbytes = HEAD.unpack_from(body)
    if layout not in _LAYOUTS_OF_WIDTH.get(item_nbytes, ()) or steps_nbytes + factors_nbytes > len(body) - HEAD.size:
        raise malformed("the head of a payload contradicts its chunk")
    first, second = HEAD.size + steps_nbytes, HEAD.size + steps_nbytes + factors_nbytes
    count = len(out) // item_nbytes
    steps = np.frombuffer(_planes(body[HEAD.size : first], -(-count // BLOCK_ITEMS) * 4, 4), np.float32)
    if not np.all((steps == 0) & ~np.signbit(steps) | (steps >= LEAST_STEP) & (steps <= MOST_STEP)):
        raise malformed("a step is none")
    step_of = np.repeat(steps, BLOCK_ITEMS)[:count]
    scaled = step_of != 0
    factors = np.frombuffer(_planes(body[first:second], int(np.count_nonzero(scaled)), 1), np.int8)
    left = _planes(body[second:], (count - len(factors)) * item_nbytes, item_nbytes)
    found = np.empty(count, f"<u{item_nbytes}")
    found[scaled] = _multiplied(factors, step_of[scaled], layout)
    found[~scaled] = np.frombuffer(left, f"<u{item_nbytes}")
    out[:] = found.view(np.uint8).data


def _planes(body: memoryview, nbytes: int, item_nbytes: int) -> bytearray:
    out = bytearray(nbytes)
    _PLANES.decode(body, item_nbytes, None, memoryview(out))
    return out


def _dtype(layout: int) -> Any:
    import ml_dtypes
    import numpy as np

    return {1: ml_dtypes.bfloat16, 2: np.float16, 3: np.float32}[layout]


def _multiplied(factors: npt.NDArray[np.int8], steps: npt.NDArray[np.float32], layout: int) -> npt.NDArray[np.uint]:
    """Return the patterns of factor * step, rounded to fp32 and then to the layout, to nearest and ties to even."""
    import numpy as np

    products = factors.astype(np.float32) * steps
    products[factors == MINUS_ZERO] = -0.0
    # Beyond fp16 lie infinity and its denormals; whoever has NumPy raise errors means his own arithmetic.
    with np.errstate(over="ignore", under="ignore"):
        rounded = products.astype(_dtype(layout))
    return rounded.view(f"<u{LAYOUTS[layout].item_nbytes}")


def _promising(items: memoryview, layout: int) -> bool:
    """Say whether one of some blocks is multiples of its smallest magnitude, at the cost of a look at a few items."""
    size = BLOCK_ITEMS * LAYOUTS[layout].item_nbytes
    count = len(items) // size
    told = 1 << LAYOUTS[layout].mantissa_bits - 2
    for number in {(2 * step + 1) * count // (2 * _TRIED_BLOCKS) for step in range(_TRIED_BLOCKS)} if count else ():
        magnitudes = [abs(value) for value in _floats(bytes(items[number * size : (number + 1) * size]), layout)]
        least = min((value for value in magnitudes if value), default=0)
        if not LEAST_STEP <= least <= max(magnitudes) <= (MOST_FACTOR + 1) * least:
            continue
        ratios = [value / least for value in magnitudes]
        if all(abs(ratio - round(ratio)) < 1 / 3 for ratio in ratios if ratio < told):
            return True
    return False


def _floats(items: bytes, layout: int) -> tuple[float, ...]:
    if layout == 1:
        widened = bytearray(2 * len(items))
        widened[2::4], widened[3::4] = items[0::2], items[1::2]
        items = bytes(widened)
    return struct.unpack(f"<{BLOCK_ITEMS}{'e' if layout == 2 else 'f'}", items)


def _encode(items: memoryview, layout: int) -> bytes:
    import numpy as np

    item_nbytes = LAYOUTS[layout].item_nbytes
    patterns = np.frombuffer(items, f"<u{item_nbytes}")
    blocks = np.zeros(-(-len(patterns) // BLOCK_ITEMS) * BLOCK_ITEMS, np.float64)
    with np.errstate(all="ignore"):
        blocks[: len(patterns)] = patterns.view(_dtype(layout)).astype(np.float64)
        steps, factors = _fitted(blocks.reshape(-1, BLOCK_ITEMS), LAYOUTS[layout].mantissa_bits)
    step_of = np.repeat(steps, BLOCK_ITEMS)[: len(patterns)]
    factor_of = factors.reshape(-1)[: len(patterns)]
    equal = np.ones(len(blocks), np.bool_)
    equal[: len(patterns)] = _multiplied(factor_of, step_of, layout) == patterns
    steps[~equal.reshape(-1, BLOCK_ITEMS).all(axis=1)] = 0
    scaled = np.repeat(steps, BLOCK_ITEMS)[: len(patterns)] != 0
    if _LEAST_SHARE * np.count_nonzero(scaled) < len(patterns):
        return b""
    parts = [
        _PLANES.encode(steps.tobytes(), 4, None),
        _PLANES.encode(factor_of[scaled].tobytes(), 1, None),
        _PLANES.encode(patterns[~scaled].tobytes(), item_nbytes, None),
    ]
    return HEAD.pack(layout, len(parts[0]), len(parts[1])) + b"".join(parts)


def _fitted(blocks: Doubles, mantissa_bits: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Return a step for each block and a factor for each item, those of blocks that are no multiples being any."""
    import numpy as np

    magnitudes = np.abs(blocks)
    # The smallest magnitude is the step itself wherever a factor is 1; elsewhere that of a neighbour is taken.
    guesses = np.where(magnitudes > 0, magnitudes, np.inf).min(axis=1)
    fits = _fits(magnitudes, guesses, mantissa_bits)
    for neighbours in (_carried(guesses, fits), _carried(guesses[::-1], fits[::-1])[::-1]):
        open_blocks = np.flatnonzero(~fits)
        guesses[open_blocks] = neighbours[open_blocks]
        fits[open_blocks] = _fits(magnitudes[open_blocks], guesses[open_blocks], mantissa_bits)
    guesses[~fits], magnitudes[~fits] = 1, 0
    factors = np.rint(magnitudes / guesses[:, None])
    # Narrow floats tell a large factor only where small ones have told the step.
    for most in (16, MOST_FACTOR) if 2**mantissa_bits < 2 * MOST_FACTOR else ():
        lows, highs = _bounds(magnitudes, np.where(factors <= most, factors, 0), mantissa_bits)
        guesses = np.where(highs < np.inf, (lows + highs) / 2, guesses)
        factors = np.rint(magnitudes / guesses[:, None])
    lows, highs = _bounds(magnitudes, factors, mantissa_bits)
    steps = np.array(_merged(lows.tolist(), highs.tolist(), fits.tolist()), np.float32)
    factors = np.where((factors == 0) & np.signbit(blocks), -MINUS_ZERO, np.minimum(factors, MOST_FACTOR))
    return steps, np.copysign(factors, blocks).astype(np.int8)


def _bounds(magnitudes: Doubles, factors: Doubles, mantissa_bits: int) -> tuple[Doubles, Doubles]:
    """Return the least and the largest step of each block of which every magnitude may be the rounded multiple."""
    import numpy as np

    half = np.ldexp(1.0, np.frexp(magnitudes)[1] - mantissa_bits - 2)
    divisors = np.where(factors > 0, factors, np.nan)
    lows = np.fmax.reduce((magnitudes - half) / divisors, axis=1, initial=0)
    highs = np.fmin.reduce((magnitudes + half) / divisors, axis=1, initial=np.inf)
    return lows, highs


def _fits(magnitudes: Doubles, guesses: Doubles, mantissa_bits: int) -> npt.NDArray[np.bool_]:
    """Say of which blocks all magnitudes are near enough to multiples of the guess to tell which."""
    import numpy as np

    usable = (guesses >= LEAST_STEP) & (guesses <= MOST_STEP)
    ratios = magnitudes / np.where(usable, guesses, 1)[:, None]
    # Both the guess and the magnitude were rounded, and the guess counts as often as the factor says.
    near = np.abs(ratios - np.rint(ratios)) <= ratios * 2.0**-mantissa_bits * 1.01
    return np.asarray(usable & (near & (ratios < MOST_FACTOR + 0.5)).all(axis=1))


def _carried(guesses: Doubles, fits: npt.NDArray[np.bool_]) -> Doubles:
    """Return for each block the guess of the nearest one at or before it that fits, infinity where none does."""
    import numpy as np

    last = np.maximum.accumulate(np.where(fits, np.arange(len(fits)), -1))
    return np.where(last >= 0, guesses[last], np.inf)


def _merged(lows: list[float], highs: list[float], fits: list[bool]) -> list[float]:
    """Return a step for each block: one for as many blocks in a row as there is one that suits them all."""
    steps: list[float] = []
    low, high, run = 0.0, float("inf"), 0

    def close() -> None:
        middle = low if high == float("inf") else (low + high) / 2
        steps.extend([middle if LEAST_STEP <= middle <= MOST_STEP else 0.0] * run)

    for lower, upper, fit in zip(lows, highs, fits, strict=True):
        if run and not (fit and max(low, lower) <= min(high, upper)):
            close()
            low, high, run = 0.0, float("inf"), 0
        if fit:
            low, high, run = max(low, lower), min(high, upper), run + 1
        else:
            steps.append(0.0)
    if run:
        close()
    return steps
