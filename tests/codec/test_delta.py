"""The conditional delta: every float comes back, whatever the tables were fitted to, and nothing hostile does harm."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.codec.builtin import RAW, SAME, XOR_PLANES, codec_for, encode
from lamella.codec.delta import Delta, delta_with, fit_delta
from lamella.codec.delta_format import BLOCK_ITEMS, LAYOUTS, MAX_CHUNK_ITEMS, TRAILER
from lamella.codec.rans_reference import LANES
from lamella.core.errors import IntegrityError
from lamella.testing.codecs import damaged, decoded, noise, nudged, special_elements, weights

EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)
EDGES = (0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513)


def width(layout: int) -> int:
    return LAYOUTS[layout].item_nbytes


def trained(layout: int, count: int, seed: int, learning_rate: float = 1e-5) -> tuple[bytes, bytes]:
    """Return weights that an optimizer has moved by about the learning rate, and what they were before."""
    draw = np.random.default_rng(seed)
    before = draw.normal(0, 0.02, count)
    after = before + draw.normal(0, learning_rate, count)

    def stored(values: np.ndarray) -> bytes:
        if layout == 1:
            return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        if layout in (5, 6):
            return (values.astype("<f2").view("<u2") >> 8).astype("u1").tobytes()
        return values.astype({2: "<f2", 3: "<f4", 4: "<f8"}[layout]).tobytes()

    return stored(after), stored(before)


@cache
def fitted(layout: int) -> Delta:
    return fit_delta(layout, [trained(layout, 3000, 1)])


@cache
def foreign(layout: int) -> Delta:
    """Return a codec whose tables hold next to nothing, so that all that moved is an escape."""
    same, _ = trained(layout, 300, 1)
    return fit_delta(layout, [(same, same)])


def returned(codec: Delta, chunk: bytes, base: bytes, item_nbytes: int) -> bytes:
    return decoded(codec, codec.encode(chunk, item_nbytes, base), len(chunk), item_nbytes, base)


def longest(layout: int, chunk: bytes) -> int:
    """Return what no payload exceeds: the chunk, 11 bits a symbol and 15 a flag, a word a lane and the trailer."""
    items = len(chunk) // width(layout)
    return len(chunk) + 2 * (2 * items + items // BLOCK_ITEMS + 2) + 2 * LANES + TRAILER.size


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    """Draw a layout, and a chunk and a base of it that are alike, unlike, or made of what arithmetic would change."""
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    item_nbytes, seed = width(layout), draw(st.integers(0, 1000))
    count = draw(st.sampled_from(EDGES) | st.integers(0, 600))
    base = draw(
        st.sampled_from(
            [weights(count, item_nbytes, seed), noise(count * item_nbytes, seed), bytes(count * item_nbytes)]
        )
    )
    odd = b"".join(random.Random(seed).choices(special_elements(item_nbytes), k=count))
    chunk = draw(st.sampled_from([nudged(base, item_nbytes, seed), base, noise(len(base), seed + 1), odd]))
    rest = draw(st.binary(min_size=item_nbytes - 1, max_size=item_nbytes - 1)) if draw(st.booleans()) else b""
    return layout, chunk + rest, base + bytes(len(rest))


@given(pair=pairs(), codec=st.sampled_from(["own", "fitted", "foreign"]))
def test_every_chunk_comes_back_whatever_the_tables_were_fitted_to(pair, codec):
    layout, chunk, base = pair
    whole = len(chunk) // width(layout) * width(layout)
    used = {
        "own": lambda: fit_delta(layout, [(chunk[:whole], base[:whole])]),
        "fitted": lambda: fitted(layout),
        "foreign": lambda: foreign(layout),
    }[codec]()
    payload = used.encode(chunk, width(layout), base)
    assert decoded(used, payload, len(chunk), width(layout), base) == chunk
    assert len(payload) <= longest(layout, chunk)
    assert used.encode(chunk, width(layout), base) == payload


@EVERY_LAYOUT
@pytest.mark.parametrize("count", EDGES)
def test_chunks_of_every_length_about_the_edges_of_blocks_and_lanes_come_back(layout, count):
    chunk, base = trained(layout, count, count)
    for codec in (fitted(layout), foreign(layout)):
        for rest in range(width(layout)):
            longer, below = chunk + noise(rest, 1), base + noise(rest, 2)
            assert returned(codec, longer, below, width(layout)) == longer


@EVERY_LAYOUT
def test_the_bytes_behind_the_last_whole_item_stand_before_the_payload(layout):
    chunk, base = trained(layout, 300, 1)
    rest = noise(width(layout) - 1, 1)
    payload = fitted(layout).encode(chunk, width(layout), base)
    assert fitted(layout).encode(chunk + rest, width(layout), base + bytes(len(rest))) == rest + payload


@EVERY_LAYOUT
def test_zeros_infinities_denormals_and_nans_become_each_other_bit_for_bit(layout):
    elements = [*special_elements(width(layout)), b"\x80" * width(layout), b"\x01" * width(layout)]
    chunk = b"".join(after for after, _ in product(elements, elements))
    base = b"".join(before for _, before in product(elements, elements))
    for codec in (fit_delta(layout, [(chunk, base)]), fitted(layout), foreign(layout)):
        assert returned(codec, chunk, base, width(layout)) == chunk


@EVERY_LAYOUT
@pytest.mark.parametrize("growth", [-32768, -1, 0, 1, 32767])
def test_the_largest_differences_come_back_under_every_growth(layout, growth):
    bits = 8 * width(layout)
    ends = [0, 1, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << (bits - 1)) + 1, (1 << bits) - 1]
    elements = [end.to_bytes(width(layout), "little") for end in ends]
    codec = fitted(layout)
    growing = delta_with(codec.parameters[:1] + growth.to_bytes(2, "little", signed=True) + codec.parameters[3:])
    for after, before in product(elements, elements):
        chunk, base = after * 300, before * 300
        assert returned(growing, chunk, base, width(layout)) == chunk
        assert returned(fit_delta(layout, [(chunk, base)]), chunk, base, width(layout)) == chunk


@EVERY_LAYOUT
def test_a_chunk_of_which_every_sign_flips_comes_back_and_shrinks(layout):
    base, _ = trained(layout, 2000, 1)
    sign = bytes(width(layout) - 1) + b"\x80"
    flipped = bytes(left ^ right for left, right in zip(base, sign * 2000, strict=True))
    codec = fit_delta(layout, [(flipped, base)])
    payload = codec.encode(flipped, width(layout), base)
    assert decoded(codec, payload, len(base), width(layout), base) == flipped
    assert len(payload) < 500
    assert returned(fitted(layout), flipped, base, width(layout)) == flipped


@EVERY_LAYOUT
def test_what_its_tables_do_not_hold_escapes(layout):
    base = weights(2000, width(layout), 1)
    other = noise(len(base), 2)
    payload = foreign(layout).encode(other, width(layout), base)
    assert len(other) // 2 < len(payload) <= longest(layout, other)
    assert decoded(foreign(layout), payload, len(other), width(layout), base) == other


@given(pair=pairs())
def test_what_is_chosen_is_never_longer_than_the_chunk(pair):
    layout, chunk, base = pair
    codec = fitted(layout)
    code, payload = encode(chunk, width(layout), base, codec)
    assert code in (RAW.code, SAME.code, Delta.code)
    assert len(payload) <= len(chunk)
    chosen = codec_for(code, codec.parameters)
    against = base if chosen.needs_base else None
    assert decoded(chosen, payload, len(chunk), width(layout), against) == chunk


@EVERY_LAYOUT
def test_a_chunk_equal_to_its_base_costs_next_to_nothing(layout):
    base, _ = trained(layout, 5000, 2)
    assert encode(base, width(layout), base, fitted(layout)) == (SAME.code, b"")
    assert len(fit_delta(layout, [(base, base)]).encode(base, width(layout), base)) < TRAILER.size + 60


@pytest.mark.parametrize(("layout", "share"), [(1, 0.7), (2, 0.9), (3, 0.9), (4, 0.97)])
def test_a_step_of_training_is_shorter_than_the_planes_of_its_difference(layout, share):
    chunk, base = trained(layout, 1 << 16, 2)
    payload = fit_delta(layout, [(chunk, base)]).encode(chunk, width(layout), base)
    assert len(payload) < share * len(XOR_PLANES.encode(chunk, width(layout), base))


@EVERY_LAYOUT
@pytest.mark.parametrize("decay", [0, 1e-4])
def test_what_was_pruned_costs_nothing_and_changes_nothing_for_the_others(layout, decay):
    kind = {1: "<u2", 2: "<f2", 3: "<f4", 4: "<f8", 5: "u1", 6: "u1"}[layout]
    chunk, base = (np.frombuffer(each, kind) for each in trained(layout, 1 << 14, 9))
    if decay and layout in (3, 4):
        chunk = (chunk * (1 - decay)).astype(kind)
    is_kept = np.random.default_rng(9).random(len(base)) < 0.7
    kept = chunk[is_kept].tobytes(), base[is_kept].tobytes()
    pruned = (chunk * is_kept).astype(kind).tobytes(), (base * is_kept).astype(kind).tobytes()
    sizes = []
    for pair in (kept, pruned):
        codec = fit_delta(layout, [pair])
        assert returned(codec, *pair, width(layout)) == pair[0]
        sizes.append(len(codec.encode(pair[0], width(layout), pair[1])))
    assert sizes[1] < 1.05 * sizes[0] + 50


@pytest.mark.parametrize(("layout", "dtype"), [(3, "<f4"), (4, "<f8")])
def test_weight_decay_is_expected_and_costs_little(layout, dtype):
    before = np.random.default_rng(1).normal(0, 0.02, 20_000).astype(dtype)
    after = (before * (1 - 1e-5)).astype(dtype)
    codec = fit_delta(layout, [(after.tobytes(), before.tobytes())])
    growth = int.from_bytes(codec.parameters[1:3], "little", signed=True)
    assert growth == pytest.approx(-1e-5 * 2**24, abs=1)
    still = delta_with(codec.parameters[:1] + b"\0\0" + codec.parameters[3:])
    sizes = [len(each.encode(after.tobytes(), width(layout), before.tobytes())) for each in (codec, still)]
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("layout", [1, 2, 5, 6])
def test_short_mantissas_are_not_expected_to_grow(layout):
    assert fitted(layout).parameters[1:3] == b"\0\0"


@EVERY_LAYOUT
def test_a_codec_that_was_fitted_to_nothing_serves_every_chunk(layout):
    chunk, base = trained(layout, 300, 3)
    for nothing in ([], [(b"", b"")]):
        assert returned(fit_delta(layout, nothing), chunk, base, width(layout)) == chunk


def test_the_longest_chunk_comes_back():
    chunk, base = trained(5, MAX_CHUNK_ITEMS, 4)
    assert returned(fitted(5), chunk, base, 1) == chunk


def test_nothing_is_written_beside_the_chunk():
    chunk, base = trained(1, 300, 5)
    out = bytearray(b"\xee" * (len(chunk) + 16))
    fitted(1).decode(fitted(1).encode(chunk, 2, base), 2, base, memoryview(out)[8:-8])
    assert out == b"\xee" * 8 + chunk + b"\xee" * 8


@EVERY_LAYOUT
def test_items_of_another_width_are_refused(layout):
    for item_nbytes in {1, 2, 4, 8} - {width(layout)}:
        with pytest.raises(IntegrityError) as caught:
            decoded(fitted(layout), bytes(200), 16, item_nbytes, bytes(16))
        assert caught.value.kind == "payload-malformed"


@EVERY_LAYOUT
def test_a_damaged_payload_is_refused_or_fills_the_chunk(layout):
    chunk, base = trained(layout, 600, 6)
    draw = random.Random(7)
    for codec in (fitted(layout), foreign(layout)):
        for hostile in draw.sample(list(damaged(codec.encode(chunk, width(layout), base))), 400):
            try:
                decoded(codec, hostile, len(chunk), width(layout), base)
            except IntegrityError as exc:
                assert exc.kind == "payload-malformed"


@EVERY_LAYOUT
def test_a_payload_that_was_cut_or_lengthened_is_refused(layout):
    chunk, base = trained(layout, 300, 8)
    payload = fitted(layout).encode(chunk, width(layout), base)
    for hostile in [payload[:at] for at in range(len(payload))] + [payload + bytes(extra) for extra in range(1, 9)]:
        with pytest.raises(IntegrityError):
            decoded(fitted(layout), hostile, len(chunk), width(layout), base)


@given(pair=pairs())
def test_parameters_describe_the_codec_that_they_came_from(pair):
    layout, chunk, base = pair
    whole = len(chunk) // width(layout) * width(layout)
    codec = fit_delta(layout, [(chunk[:whole], base[:whole])])
    again = delta_with(codec.parameters)
    assert again.parameters == codec.parameters
    assert again.encode(chunk, width(layout), base) == codec.encode(chunk, width(layout), base)


def refused_or_taken_at_their_word(parameters: bytes) -> None:
    """Hold parameters against the promise that whatever is accepted is written in one way only."""
    try:
        assert delta_with(parameters).parameters == parameters
    except IntegrityError as exc:
        assert exc.kind == "payload-malformed"
        assert exc.hint


@pytest.mark.parametrize("layout", [1, 3])
def test_damaged_parameters_are_refused_or_taken_at_their_word(layout):
    for codec in (fitted(layout), fit_delta(layout, [])):
        for hostile in damaged(codec.parameters):
            refused_or_taken_at_their_word(hostile)


@given(st.binary(max_size=4), st.integers(0, 400), st.integers(0, 8))
def test_parameters_with_other_bytes_within_are_refused_or_taken_at_their_word(other, at, gone):
    whole = fitted(1).parameters
    refused_or_taken_at_their_word(whole[:at] + other + whole[at + gone :])


@given(parameters=st.binary(max_size=100), start=st.sampled_from([b"", b"\1\0\0\0", b"\3\0\0\2\4\7"]))
def test_parameters_that_nobody_made_are_refused_or_taken_at_their_word(parameters, start):
    refused_or_taken_at_their_word(start + parameters)


def test_parameters_that_were_cut_or_lengthened_are_refused():
    parameters = fitted(1).parameters
    for hostile in [parameters[:at] for at in range(len(parameters))] + [parameters + b"\0", parameters * 2]:
        with pytest.raises(IntegrityError):
            delta_with(hostile)


def test_threads_get_the_same_answers_as_one_caller():
    work = [(layout, *trained(layout, 40_000 + layout, layout)) for layout in LAYOUTS] * 3

    def there(item: tuple[int, bytes, bytes]) -> bytes:
        layout, chunk, base = item
        return fitted(layout).encode(chunk, width(layout), base)

    def back(item: tuple[int, bytes, bytes], payload: bytes) -> bytes:
        layout, chunk, base = item
        return decoded(fitted(layout), payload, len(chunk), width(layout), base)

    with ThreadPoolExecutor(4) as pool:
        payloads = list(pool.map(there, work))
        chunks = list(pool.map(back, work, payloads))
    assert payloads == [there(item) for item in work]
    assert chunks == [chunk for _, chunk, _ in work]
