"""The compiled kernels against their plain twins, and the switch between the two."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamella.codec
from lamella.codec import _native, kernels, reference
from lamella.core.errors import BackendError
from lamella.testing.codecs import ITEM_SIZES, noise, weights

TWINS = pytest.mark.parametrize("twin", [_native, reference], ids=["native", "reference"])
PLANE_KERNELS = pytest.mark.parametrize("name", ["split_planes", "join_planes"])


def call(twin: ModuleType, name: str, source, item_nbytes: int, base) -> bytes:
    out = bytearray(b"\xee" * len(source))
    assert getattr(twin, name)(source, item_nbytes, base, out) is None
    return bytes(out)


@PLANE_KERNELS
@given(
    data=st.binary(max_size=100) | st.builds(noise, st.integers(0, 20_000), st.integers(0, 99)),
    item_nbytes=st.sampled_from(ITEM_SIZES),
    seed=st.none() | st.integers(0, 99),
)
def test_native_planes_are_those_of_the_reference(name, data, item_nbytes, seed):
    base = None if seed is None else noise(len(data), seed)
    assert call(_native, name, data, item_nbytes, base) == call(reference, name, data, item_nbytes, base)


@TWINS
@given(
    data=st.binary(max_size=200),
    item_nbytes=st.sampled_from(ITEM_SIZES),
    against=st.booleans(),
)
def test_joined_planes_are_what_was_split(twin, data, item_nbytes, against):
    base = noise(len(data), 1) if against else None
    planes = call(twin, "split_planes", data, item_nbytes, base)
    assert call(twin, "join_planes", planes, item_nbytes, base) == data


@TWINS
def test_a_plane_has_one_byte_of_every_item_and_the_rest_follows(twin):
    source = bytes.fromhex("a0b0c0d0 a1b1c1d1 a2b2c2d2 ee ff")
    assert call(twin, "split_planes", source, 4, None) == bytes.fromhex("a0a1a2 b0b1b2 c0c1c2 d0d1d2 ee ff")
    assert call(twin, "split_planes", source, 4, source) == bytes(len(source))


@TWINS
@pytest.mark.parametrize("item_nbytes", ITEM_SIZES)
def test_planes_take_any_contiguous_buffer(twin, item_nbytes):
    source, base = weights(33, item_nbytes, 1), weights(33, item_nbytes, 2)
    expected = call(twin, "split_planes", source, item_nbytes, base)
    out = bytearray(len(source) + 2)
    twin.split_planes(bytearray(source), item_nbytes, memoryview(b"x" + base)[1:], memoryview(out)[1:-1])
    assert out == b"\0" + expected + b"\0"
    wide = memoryview(bytearray(len(source))).cast("Q" if item_nbytes == 8 else "B")
    twin.split_planes(source, item_nbytes, base, wide)
    assert wide.tobytes() == expected


@TWINS
@PLANE_KERNELS
@pytest.mark.parametrize(
    ("source", "item_nbytes", "base", "out"),
    [
        (b"abcd", 3, None, bytearray(4)),
        (b"abcd", 0, None, bytearray(4)),
        (b"abcd", -2, None, bytearray(4)),
        (b"abcd", 16, None, bytearray(4)),
        (b"abcd", 2, None, bytearray(3)),
        (b"abcd", 2, None, bytearray(5)),
        (b"abcd", 2, b"abc", bytearray(4)),
        (b"abcd", 2, b"abcde", bytearray(4)),
        (b"abcd", 2, b"", bytearray(4)),
        (b"abcd", 2, None, b"four"),
        (b"abcd", 2, None, memoryview(b"four")),
        (memoryview(b"abcdefgh")[::2], 2, None, bytearray(4)),
        (b"abcd", 2, memoryview(b"abcdefgh")[::2], bytearray(4)),
        (b"abcd", 2, None, memoryview(bytearray(8))[::2]),
    ],
)
def test_a_wrong_width_length_or_buffer_is_refused(twin, name, source, item_nbytes, base, out):
    with pytest.raises(ValueError, match="must"):
        getattr(twin, name)(source, item_nbytes, base, out)


@TWINS
@PLANE_KERNELS
@pytest.mark.parametrize("wrong", [None, "abcd", 4, [1, 2, 3, 4]])
def test_what_is_no_buffer_is_refused(twin, name, wrong):
    with pytest.raises(TypeError):
        getattr(twin, name)(wrong, 1, None, bytearray(4))
    with pytest.raises(TypeError):
        getattr(twin, name)(b"abcd", 1, None, wrong)


@given(
    data=st.builds(noise, st.integers(0, 3000), st.integers(0, 99)) | st.binary(max_size=400),
    minimum=st.integers(0, 200),
    shift=st.integers(5, 11),
    maximum=st.integers(0, 3000),
    gear=st.just(reference.GEAR) | st.builds(noise, st.just(2048), st.integers(0, 9)) | st.binary(max_size=9),
)
def test_native_cuts_are_those_of_the_reference(data, minimum, shift, maximum, gear):
    answers = []
    for twin in (_native, reference):
        try:
            answers.append(twin.find_cut(data, gear, minimum, 1 << shift, maximum))
        except ValueError as exc:
            answers.append(str(exc))
    assert answers[0] == answers[1]


def fresh_kernels() -> ModuleType:
    spec = spec_from_file_location("kernels_under_test", kernels.__file__)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_compiled_kernels_are_used_where_they_are_installed():
    assert kernels.IS_NATIVE
    assert fresh_kernels().split_planes is _native.split_planes


def test_the_twins_stand_in_where_no_kernel_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lamella.codec._native", None)
    module = fresh_kernels()
    assert not module.IS_NATIVE
    assert module.split_planes is reference.split_planes
    assert module.join_planes is reference.join_planes
    data = noise(5000, 1)
    assert module.find_cut(data, 64, 256, 1024) == kernels.find_cut(data, 64, 256, 1024)


class Broken(MetaPathFinder, Loader):
    """Finds the compiled kernels, and fails to load them."""

    def __init__(self, error: ImportError) -> None:
        self.error = error

    def find_spec(self, fullname, path, target=None):
        return spec_from_loader(fullname, self) if fullname == "lamella.codec._native" else None

    def exec_module(self, module):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ImportError("undefined symbol", name="lamella.codec._native"),
        ModuleNotFoundError("no module named 'elsewhere'", name="elsewhere"),
    ],
    ids=str,
)
def test_kernels_that_are_installed_and_do_not_load_are_an_error(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "lamella.codec._native")
    monkeypatch.delattr(lamella.codec, "_native")
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    with pytest.raises(BackendError, match=str(error)) as caught:
        fresh_kernels()
    assert caught.value.kind == "native-broken"
