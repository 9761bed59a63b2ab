"""The compiled delta, in every instruction set of this machine, against its plain twins."""

from __future__ import annotations

import random
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.codec import _native, delta_fit_reference, delta_reference, kernels
from lamella.codec.delta_format import CLASSES, LAYOUTS, MAX_CHUNK_ITEMS, MEANINGLESS, NO_STEP, TRAILER
from lamella.codec.rans_reference import ESCAPE, FLAG_TOTAL, PROBABILITY_TOTAL, SYMBOLS
from lamella.testing.codecs import noise, nudged, special_elements, weights

INSTRUCTION_SETS = _native.instruction_sets()
MODELS = pytest.mark.parametrize("model", [_native.DeltaModel, delta_reference.DeltaModel], ids=["native", "reference"])
TWINS = pytest.mark.parametrize("twin", [_native, delta_reference], ids=["native", "reference"])
MEANINGFUL = sorted(set(range(ESCAPE)) - set(MEANINGLESS))
COUNTS_NBYTES = 4 * (CLASSES + 1) * SYMBOLS


@contextmanager
def using(instruction_set: str) -> Iterator[None]:
    _native.use_instruction_set(instruction_set)
    try:
        yield
    finally:
        _native.use_instruction_set(INSTRUCTION_SETS[0])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    """Draw a layout, and a chunk and a base of whole items: alike, unlike, or of what arithmetic would change."""
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    item_nbytes, seed = LAYOUTS[layout].item_nbytes, draw(st.integers(0, 1000))
    count = draw(st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129, 255, 256, 257, 513]) | st.integers(0, 600))
    odd = b"".join(random.Random(seed).choices(special_elements(item_nbytes), k=count))
    base = draw(st.sampled_from([weights(count, item_nbytes, seed), noise(count * item_nbytes, seed), odd]))
    mixed = bytearray(nudged(base, item_nbytes, seed))
    for at in range(0, len(mixed), 37 * item_nbytes):
        mixed[at : at + item_nbytes] = noise(item_nbytes, at)
    chunk = draw(st.sampled_from([bytes(mixed), base, noise(len(base), seed + 1), bytes(len(base)), odd[::-1]]))
    return layout, chunk, base


growths = st.sampled_from([0, 1, -1, -168, 32767, -32768]) | st.integers(-32768, 32767)


def counted(twin, layout: int, growth: int, chunk: bytes, base: bytes) -> bytes:
    counts = bytearray(COUNTS_NBYTES)
    twin.count_delta(layout, growth, chunk, base, counts)
    twin.count_delta(layout, growth, chunk, base, counts)
    return bytes(counts)


@given(pair=pairs(), growth=growths)
def test_every_instruction_set_counts_as_the_reference_does(pair, growth):
    expected = counted(delta_reference, pair[0], growth, *pair[1:])
    for name in INSTRUCTION_SETS:
        with using(name):
            assert counted(_native, pair[0], growth, *pair[1:]) == expected


@given(pair=pairs())
def test_the_growth_is_that_of_the_reference(pair):
    assert _native.fit_growth(*pair) == delta_fit_reference.fit_growth(*pair)


@given(seed=st.integers(0, 1000), largest=st.sampled_from([0, 1, 5, 1000, 2**32 - 1]), density=st.floats(0, 1))
def test_contexts_are_those_of_the_reference(seed, largest, density):
    draw = random.Random(seed)
    numbers = [draw.randint(0, largest) if draw.random() < density else 0 for _ in range((CLASSES + 1) * SYMBOLS)]
    counts = struct.pack(f"<{len(numbers)}I", *numbers)
    assert _native.fit_contexts(counts) == delta_fit_reference.fit_contexts(counts)


@given(pair=pairs(), growth=growths, other=st.none() | st.integers(0, 9))
def test_every_instruction_set_makes_the_payload_of_the_reference_and_reads_it(pair, growth, other):
    layout, chunk, base = pair
    sample = chunk if other is None else nudged(base, LAYOUTS[layout].item_nbytes, other)
    tables = _native.fit_contexts(counted(_native, layout, growth, sample, base))
    reference = delta_reference.DeltaModel(layout, growth, *tables)
    native = _native.DeltaModel(layout, growth, *tables)
    payload = reference.encode(chunk, base)
    assert decoded(reference, payload, base) == (True, chunk)
    for name in INSTRUCTION_SETS:
        with using(name):
            assert native.encode(chunk, base) == payload
            assert decoded(native, payload, base) == (True, chunk)


@given(pair=pairs(), growth=growths, data=st.data())
def test_every_instruction_set_passes_the_verdict_of_the_reference_on_a_damaged_payload(pair, growth, data):
    layout, chunk, base = pair
    tables = random_tables(random.Random(data.draw(st.integers(0, 1000))))
    reference, native = (model(layout, growth, *tables) for model in (delta_reference.DeltaModel, _native.DeltaModel))
    hostile = bytearray(reference.encode(chunk, base))
    trailer = st.integers(-TRAILER.size, -1).map(lambda at: at % len(hostile))
    for at in data.draw(st.lists(trailer | st.integers(0, len(hostile) - 1), max_size=3)):
        hostile[at] ^= data.draw(st.sampled_from([1, 2, 16, 128, 255]))
    del hostile[data.draw(st.just(len(hostile)) | st.integers(0, len(hostile))) :]
    hostile += data.draw(st.just(b"") | st.binary(max_size=5))
    told = [decoded(reference, hostile, base)]
    for name in INSTRUCTION_SETS:
        with using(name):
            told.append(decoded(native, hostile, base))
    assert len({accepted for accepted, _ in told}) == 1
    assert not told[0][0] or len({found for _, found in told}) == 1


def decoded(model, payload: bytes, base: bytes) -> tuple[bool, bytes]:
    out = bytearray(len(base))
    return model.decode(payload, base, out), bytes(out)


def random_tables(draw: random.Random) -> tuple[bytes, bytes, bytes]:
    """Return bounds, shares of any size, and frequencies of any symbols that stand for something."""
    bounds = bytes(sorted(draw.sample(range(1, CLASSES), draw.randint(0, 6))))
    most = FLAG_TOTAL - 1
    stays = array("H", (draw.choice([1, most, draw.randint(1, most)]) for _ in range(CLASSES)))
    frequencies = array("H")
    for _ in range(len(bounds) + 1):
        frequencies.extend(random_table(draw, MEANINGFUL, ESCAPE))
    frequencies.extend(random_table(draw, [step for step in range(SYMBOLS) if step != NO_STEP], NO_STEP))
    return bounds, stays.tobytes(), frequencies.tobytes()


def random_table(draw: random.Random, symbols: list[int], needed: int) -> list[int]:
    weight = {symbol: draw.random() ** 4 for symbol in draw.sample(symbols, draw.choice([1, 3, 30, 180]))}
    total = sum(weight.values())
    found = [0] * SYMBOLS
    for symbol, share in weight.items():
        found[symbol] = max(1, int(share / total * (PROBABILITY_TOTAL - 200)))
    found[needed] += PROBABILITY_TOTAL - sum(found)
    return found


def test_the_tables_of_these_tests_are_such_as_models_take():
    draw = random.Random(1)
    for _ in range(200):
        tables = random_tables(draw)
        for model in (_native.DeltaModel, delta_reference.DeltaModel):
            model(1, 0, *tables)


def table(**frequencies: int) -> bytes:
    numbers = [0] * SYMBOLS
    for name, frequency in frequencies.items():
        numbers[int(name[1:])] = frequency
    return array("H", numbers).tobytes()


SOUND, STEPS = table(s1=2000, s255=48), table(s128=2000, s129=48)
STAYS = array("H", [FLAG_TOTAL // 2] * CLASSES).tobytes()


@MODELS
@pytest.mark.parametrize(
    ("layout", "growth", "bounds", "stays", "frequencies"),
    [
        (0, 0, b"", STAYS, SOUND + STEPS),
        (7, 0, b"", STAYS, SOUND + STEPS),
        (-1, 0, b"", STAYS, SOUND + STEPS),
        (1, 32768, b"", STAYS, SOUND + STEPS),
        (1, -32769, b"", STAYS, SOUND + STEPS),
        (1, 0, b"\0", STAYS, 2 * SOUND + STEPS),
        (1, 0, b"\x1a", STAYS, 2 * SOUND + STEPS),
        (1, 0, b"\5\5", STAYS, 3 * SOUND + STEPS),
        (1, 0, b"\6\5", STAYS, 3 * SOUND + STEPS),
        (1, 0, bytes(range(1, 27)), STAYS, 27 * SOUND + STEPS),
        (1, 0, b"", STAYS[:-2], SOUND + STEPS),
        (1, 0, b"", STAYS + STAYS[:2], SOUND + STEPS),
        (1, 0, b"", STAYS[:-2] + b"\0\0", SOUND + STEPS),
        (1, 0, b"", b"\0\x80" + STAYS[2:], SOUND + STEPS),
        (1, 0, b"", STAYS, SOUND),
        (1, 0, b"", STAYS, 2 * SOUND + STEPS),
        (1, 0, b"", STAYS, SOUND + STEPS[:-1]),
        (1, 0, b"", STAYS, b""),
        (1, 0, b"", STAYS, table(s1=2000, s255=49) + STEPS),
        (1, 0, b"", STAYS, table(s1=2048) + STEPS),
        (1, 0, b"", STAYS, table(s255=2048) + STEPS),
        (1, 0, b"", STAYS, table(s1=2000, s2=48) + STEPS),
        (1, 0, b"", STAYS, table(s0=1, s1=1999, s255=48) + STEPS),
        (1, 0, b"", STAYS, SOUND + table(s127=2000, s129=48)),
        (4, 0, b"", STAYS, table(s1=2000, s62=1, s255=47) + STEPS),
        (4, 0, b"", STAYS, table(s1=2000, s191=1, s255=47) + STEPS),
        (1, 0, b"", STAYS, table(s1=2048, s2=65535, s3=1, s255=48) + STEPS),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(model, layout, growth, bounds, stays, frequencies):
    model(1, 0, b"", STAYS, SOUND + STEPS)
    with pytest.raises(ValueError, match=r"."):
        model(layout, growth, bounds, stays, frequencies)


@MODELS
@pytest.mark.parametrize(
    ("chunk", "base"), [(b"ab", b"abcd"), (b"abcd", b""), (b"abc", b"abc"), (bytes(2 * MAX_CHUNK_ITEMS + 2),) * 2]
)
def test_a_chunk_and_a_base_that_do_not_match_are_refused(model, chunk, base):
    made = model(1, 0, b"", STAYS, SOUND + STEPS)
    with pytest.raises(ValueError, match=r"the (base|chunk) (must|is)"):
        made.encode(chunk, base)
    with pytest.raises(ValueError, match=r"the (base|chunk) (must|is)"):
        made.decode(bytes(400), base, bytearray(chunk))


@TWINS
def test_counts_of_another_length_are_refused(twin):
    for nbytes in (0, COUNTS_NBYTES - 4, COUNTS_NBYTES + 4):
        with pytest.raises(ValueError, match="counts"):
            twin.count_delta(1, 0, b"ab", b"ab", bytearray(nbytes))
        with pytest.raises(ValueError, match="counts"):
            (_native if twin is _native else delta_fit_reference).fit_contexts(bytes(nbytes))


def test_the_slowest_instruction_set_is_one_that_every_machine_has():
    assert INSTRUCTION_SETS[-1] == "baseline"
    with pytest.raises(ValueError, match="instruction set"):
        _native.use_instruction_set("abacus")


def test_the_compiled_delta_is_used_where_it_is_installed_and_its_twins_elsewhere(monkeypatch):
    assert kernels.delta_model is _native.DeltaModel
    assert kernels.fit_contexts is _native.fit_contexts
    monkeypatch.setitem(sys.modules, "lamella.codec._native", None)
    spec = spec_from_file_location("kernels_under_test", kernels.__file__)
    without = module_from_spec(spec)
    spec.loader.exec_module(without)
    assert without.delta_model is delta_reference.DeltaModel
    assert without.count_delta is delta_reference.count_delta
    assert without.fit_growth is delta_fit_reference.fit_growth
    assert without.fit_contexts is delta_fit_reference.fit_contexts
