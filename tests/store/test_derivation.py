"""What can be made of stored tensors is found and proved; what differs in one bit is stored as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.codec.casts import CASTS, cast_code
from lamella.core.config import StoreConfig
from lamella.core.dtypes import DTYPES
from lamella.core.ids import ObjectId, digest
from lamella.core.limits import MIB
from lamella.core.tensors import TensorSpec
from lamella.store.chain import Chain
from lamella.store.check import check_store
from lamella.store.kin import Family, Relative
from lamella.store.objects import ObjectStore
from lamella.store.recipe import FILL
from lamella.store.record import DERIVED
from lamella.store.writer import Added, Source, add_objects
from lamella.testing.codecs import noise
from lamella.testing.models import spec

TWO_THREADS = StoreConfig(threads=2, roll_up_packs=1000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", TWO_THREADS, create=True) as store:
        yield store


class Shelf:
    """A store in which tensors are put by what they are, with those before as their family."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.relatives: list[Relative] = []
        self.earlier: list[Relative] = []
        self.added = Added()

    def put(self, what: TensorSpec, data: bytes, *bases: ObjectId) -> Chain:
        """Store a tensor and return it opened; what comes back is what went in."""
        assert len(data) == what.nbytes
        family = Family(self.earlier, self.relatives)
        source = Source(
            len(data), what.dtype.item_nbytes, lambda at, nbytes: data[at : at + nbytes], bases, None, what, family
        )
        ids, self.added = add_objects(self.store, [source])
        self.relatives.append(Relative(what, ids[0]))
        assert self.store.read(ids[0]) == data
        return self.store.open(ids[0])


@pytest.fixture
def shelf(store: ObjectStore) -> Shelf:
    return Shelf(store)


def numbers(what: TensorSpec, seed: int = 0) -> bytes:
    """Return the bytes of a tensor of any numbers, NaNs and denormals among them."""
    return noise(what.nbytes, seed)


def words(data: bytes, width: int) -> numpy.ndarray:
    return numpy.frombuffer(data, f"<u{width}")


def cast(data: bytes, source: str, target: str) -> bytes:
    code = cast_code(source, target)
    assert code is not None
    return CASTS[code].convert(words(data, DTYPES[source].item_nbytes)).tobytes()


def is_derived(chain: Chain) -> bool:
    return bool(chain.head.flags & DERIVED)


CASTABLE = [(one, other) for one in DTYPES for other in DTYPES if cast_code(one, other)]


@pytest.mark.parametrize(("source", "target"), CASTABLE)
def test_a_cast_is_derived_under_its_own_name_or_another(shelf, source, target):
    wide = numbers(spec("a.weight", 300, 301, dtype=source))
    first = shelf.put(spec("a.weight", 300, 301, dtype=source), wide)
    chain = shelf.put(spec("a.weight", 300, 301, dtype=target), cast(wide, source, target))
    assert is_derived(chain)
    assert chain.head.leans_on == (first.head.id,)
    assert shelf.added.stored_nbytes < 400
    other = numbers(spec("a.weight", 300, 301, dtype=source), 1)
    shelf.put(spec("layers.1.w", 300, 301, dtype=source), other)
    assert is_derived(shelf.put(spec("model.layers.1.weight", 300, 301, dtype=target), cast(other, source, target)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8 * 2 * 70_000 - 1))
def test_a_cast_that_is_wrong_in_one_bit_is_not_derived(tmp_path_factory, bit):
    with ObjectStore(tmp_path_factory.mktemp("store"), TWO_THREADS, create=True) as store:
        shelf = Shelf(store)
        wide = numbers(spec("a", 70_000))
        shelf.put(spec("a", 70_000), wide)
        wrong = bytearray(cast(wide, "f32", "bf16"))
        wrong[bit // 8] ^= 1 << bit % 8
        assert not is_derived(shelf.put(spec("a", 70_000, dtype="bf16"), bytes(wrong)))


def test_truncation_is_no_rounding(shelf):
    wide = numbers(spec("a", 5000))
    shelf.put(spec("a", 5000), wide)
    truncated = (words(wide, 4) >> 16).astype("<u2").tobytes()
    assert not is_derived(shelf.put(spec("a", 5000, dtype="bf16"), truncated))


def parts(data: bytes, what: TensorSpec, axis: int, *cuts: int) -> list[bytes]:
    table = words(data, what.dtype.item_nbytes).reshape(what.shape)
    return [numpy.ascontiguousarray(part).tobytes() for part in numpy.split(table, cuts, axis)]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["f32", "i8", "f64"])
def test_shards_along_any_axis_are_derived(shelf, axis, dtype):
    whole = spec("w", 12, 20, 96, dtype=dtype)
    data = numbers(whole)
    shelf.put(whole, data)
    extent = whole.shape[axis] // 4
    for part in parts(data, whole, axis, extent, 2 * extent, 3 * extent):
        shape = tuple(extent if at == axis else length for at, length in enumerate(whole.shape))
        assert is_derived(shelf.put(spec("w", *shape, dtype=dtype), part))


def test_shards_of_another_dtype_are_derived(shelf):
    whole = spec("w", 64, 96)
    data = numbers(whole)
    shelf.put(whole, data)
    for part in parts(data, whole, 1, 48):
        assert is_derived(shelf.put(spec("w", 64, 48, dtype="bf16"), cast(part, "f32", "bf16")))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_what_is_joined_along_any_axis_is_derived(shelf, axis, dtype):
    whole = spec("qkv", 64, 64)
    data = numbers(whole)
    for name, part, extent in zip("qkv", parts(data, whole, axis, 32, 48), (32, 16, 16), strict=True):
        shape = (extent, 64) if axis == 0 else (64, extent)
        shelf.put(spec(name, *shape), part)
    made = data if dtype == "f32" else cast(data, "f32", dtype)
    chain = shelf.put(spec("qkv", 64, 64, dtype=dtype), made)
    assert is_derived(chain)
    assert len(chain.sources) == 3


def test_unequal_parts_of_what_was_joined_are_derived(shelf):
    whole = spec("qkv", 60, 50)
    data = numbers(whole)
    shelf.put(whole, data)
    for name, part in zip("qkv", parts(data, whole, 0, 40, 50), strict=True):
        assert is_derived(shelf.put(spec(name, len(part) // 200, 50), part))


def test_a_stack_and_its_entries_are_derived(shelf):
    data = [numbers(spec("e", 30, 40), number) for number in range(8)]
    for number, one in enumerate(data):
        shelf.put(spec(f"experts.{number}.w", 30, 40), one)
    assert is_derived(shelf.put(spec("experts.w", 8, 30, 40), b"".join(data)))
    other = Shelf(shelf.store)
    stack = b"".join(numbers(spec("e", 30, 40), number) for number in range(20, 24))
    other.put(spec("other", 4, 30, 40), stack)
    assert is_derived(other.put(spec("other.2", 30, 40), stack[2 * 4800 : 3 * 4800]))


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_a_matrix_and_its_transpose_are_kept_once(shelf, dtype):
    whole = spec("w", 300, 250)
    data = numbers(whole)
    shelf.put(whole, data)
    turned = words(data, 4).reshape(300, 250).T.tobytes()
    made = turned if dtype == "f32" else cast(turned, "f32", dtype)
    assert is_derived(shelf.put(spec("w", 250, 300, dtype=dtype), made))
    square = numbers(spec("s", 64, 64))
    shelf.put(spec("s", 64, 64), square)
    assert is_derived(shelf.put(spec("s", 64, 64), words(square, 4).reshape(64, 64).T.tobytes()))


def test_a_vocabulary_that_was_padded_with_one_item_is_derived(shelf):
    data = numbers(spec("vocabulary", 100, 30))
    shelf.put(spec("vocabulary", 100, 30), data)
    chain = shelf.put(spec("vocabulary", 128, 30), data + bytes(28 * 120))
    assert is_derived(chain)
    cut = shelf.put(spec("vocabulary", 90, 30), data[: 90 * 120])
    assert is_derived(cut)


def test_what_was_looked_for_before_hides_nothing(shelf):
    """Lists of beginnings are shared by all tensors of a file, short and long ones."""
    short, long = numbers(spec("short", 20, 30)), numbers(spec("long", 50, 30), 1)
    shelf.put(spec("short", 20, 30), short)
    shelf.put(spec("long", 50, 30), long)
    family = Family((), shelf.relatives)
    wanted = {
        spec("a", 30, 30): short + bytes(1200),
        spec("b", 60, 30): long + bytes(1200),
        spec("c", 10, 30): long[1200:2400],
    }
    sources = [
        Source(len(data), 4, lambda at, nbytes, data=data: data[at : at + nbytes], (), None, what, family)
        for what, data in wanted.items()
    ]
    ids, _ = add_objects(shelf.store, sources)
    assert all(is_derived(shelf.store.open(identity)) for identity in ids)


def test_a_vocabulary_that_grew_by_new_rows_leans_on_the_old_one_with_all_of_it(shelf):
    """Rows of 384 do not fill the last chunk: what the old one has of it serves."""
    old = numbers(spec("vocabulary", 1000, 384, dtype="bf16"))
    first = shelf.put(spec("vocabulary", 1000, 384, dtype="bf16"), old)
    grown = old + noise(7 * 768, 5)
    chain = shelf.put(spec("vocabulary", 1007, 384, dtype="bf16"), grown, first.head.id)
    assert [head.id for head in chain.bases] == [first.head.id]
    assert shelf.added.stored_nbytes < 7 * 768 * 1.4 + 1000
    shrunk = bytearray(old[: 995 * 768])
    shrunk[5000] ^= 1
    chain = shelf.put(spec("vocabulary", 995, 384, dtype="bf16"), bytes(shrunk), first.head.id)
    assert (len(chain.bases), shelf.added.stored_nbytes < 1500) == (1, True)
    assert check_store(shelf.store).unreadable == frozenset()


@pytest.mark.parametrize(("item", "width"), [(0, 4), (0x3F800000, 4), (0x3F80, 2), (7, 1), (1 << 63, 8)])
def test_one_item_again_and_again_takes_a_few_bytes(store, item, width):
    data = item.to_bytes(width, "little") * (4 * MIB // width)
    source = Source(len(data), width, lambda at, nbytes: data[at : at + nbytes])
    ids, _ = add_objects(store, [source])
    head = store.open(ids[0]).head
    assert (head.head_nbytes + head.payload_nbytes < 200, head.leans_on, head.depth) == (True, (), 0)
    assert store.read(ids[0]) == data
    wrong = data[: MIB + 5] + bytes([data[MIB + 5] ^ 1]) + data[MIB + 6 :]
    ids, _ = add_objects(store, [Source(len(wrong), width, lambda at, nbytes: wrong[at : at + nbytes])])
    assert not store.open(ids[0]).head.flags
    assert store.read(ids[0]) == wrong


def test_what_hardly_takes_more_than_a_recipe_is_stored_as_it_is(shelf):
    wide = numbers(spec("bias", 100))
    shelf.put(spec("bias", 100), wide)
    assert not is_derived(shelf.put(spec("bias", 100, dtype="bf16"), cast(wide, "f32", "bf16")))
    assert not is_derived(shelf.put(spec("ones", 5000), bytes(20_000)))


def test_a_new_version_is_compared_with_its_like_alone(shelf):
    """What was trained is not looked for in other tensors, which would cost a little for each of them."""
    old, new = numbers(spec("a", 50, 50)), numbers(spec("b", 50, 50))
    shelf.put(spec("b", 50, 50), new)
    shelf.earlier = [Relative(spec("a", 50, 50), shelf.put(spec("a", 50, 50), old).head.id)]
    turned = words(new, 4).reshape(50, 50).T.tobytes()
    assert not is_derived(shelf.put(spec("a", 50, 50), turned))
    shelf.put(spec("a", 50, 50, dtype="f64"), noise(20_000, 8))
    narrow = cast(noise(20_000, 8), "f64", "f32")
    assert is_derived(shelf.put(spec("a", 50, 50), narrow))


def test_what_is_made_of_a_conversion_is_made_of_what_that_was_made_of(shelf):
    whole, half = spec("a", 64, 96), spec("a", 64, 96, dtype="bf16")
    data = numbers(whole)
    first = shelf.put(whole, data)
    shelf.put(half, cast(data, "f32", "bf16"))
    shelf.relatives = [Relative(half, shelf.relatives[1].id)]
    made = cast(data, "f32", "bf16")
    upper = shelf.put(spec("a", 32, 96, dtype="bf16"), made[: 32 * 192])
    lower = shelf.put(spec("a", 32, 96, dtype="bf16"), made[32 * 192 :])
    turned = shelf.put(spec("a", 96, 64, dtype="bf16"), words(made, 2).reshape(64, 96).T.tobytes())
    shelf.relatives = [Relative(spec("a", 32, 96, dtype="bf16"), lower.head.id)]
    quarter = shelf.put(spec("a", 16, 96, dtype="bf16"), made[48 * 192 :])
    corner = shelf.put(spec("a", 96, 32, dtype="bf16"), words(made, 2).reshape(64, 96)[32:].T.tobytes())
    assert {chain.head.leans_on for chain in (upper, lower, turned, quarter, corner)} == {(first.head.id,)}


def test_nothing_is_made_of_what_was_joined_or_of_itself(shelf):
    wide = numbers(spec("a", 5000, dtype="f64"))
    first = shelf.put(spec("a", 5000, dtype="f64"), wide)
    middle = shelf.put(spec("a", 5000), cast(wide, "f64", "f32"))
    assert middle.head.leans_on == (first.head.id,)
    assert not is_derived(shelf.put(spec("a", 5000, dtype="bf16"), cast(cast(wide, "f64", "f32"), "f32", "bf16")))
    again = Source(
        *(40_000, 8, lambda at, nbytes: wide[at : at + nbytes], (), None),
        *(spec("a", 5000, dtype="f64"), Family((), shelf.relatives)),
    )
    add_objects(shelf.store, [again], anew=True)
    assert shelf.store.open(digest(wide)).sources == ()
    assert check_store(shelf.store).unreadable == frozenset()


def test_a_relative_that_is_gone_or_damaged_keeps_nothing_out(shelf, tmp_path):
    wide = numbers(spec("a", 100_000))
    shelf.relatives.append(Relative(spec("b", 100_000), digest(b"gone")))
    chain = shelf.put(spec("a", 100_000), wide)
    path, entry = chain.links[0].pack.path, chain.links[0].entry
    data = bytearray(path.read_bytes())
    data[entry.offset + entry.nbytes - 1] ^= 1
    path.write_bytes(data)
    assert not is_derived(shelf.put(spec("a", 100_000, dtype="bf16"), cast(wide, "f32", "bf16")))


def test_items_that_share_bytes_are_left_alone(shelf):
    data = noise(2000, 1)
    shelf.put(spec("a", 2, 2000, dtype="f4_e2m1"), data)
    assert not is_derived(shelf.put(spec("a", 2, 1000, dtype="f4_e2m1"), data[:500] + data[1000:1500]))


def test_a_piece_of_what_is_not_there_is_never_proposed(shelf):
    """Shapes that only look alike: empty ones, scalars, and numbers of elements that agree by chance."""
    shapes = [(), (0, 5), (1,), (600,), (1, 600), (600, 1), (2, 300), (300, 2), (2, 3, 100)]
    for number, shape in enumerate(shapes):
        shelf.put(spec("a", *shape), noise(4 * math.prod(shape), number))
    assert all(not is_derived(shelf.store.open(relative.id)) for relative in shelf.relatives)
    assert FILL not in CASTS


def test_a_second_copy_of_an_object_does_not_lean_on_what_is_made_of_it(store):
    shelf = Shelf(store)
    data = noise(4 * 300 * 256, 1)
    shelf.put(spec("w", 300, 256), data)
    made = shelf.put(spec("w", 200, 256), data[: 4 * 200 * 256])
    assert made.sources
    again = Source(len(data), 4, lambda at, nbytes: data[at : at + nbytes], (made.head.id,))
    add_objects(store, [again], anew=True)
    assert {entry.depth for _, entry in store.index.find(digest(data))} == {0}
