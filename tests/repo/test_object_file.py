"""An object as a file: any range of it, each chunk decoded once where ranges come in a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.repo.checkin import check_in
from lamella.repo.object_file import ObjectFile
from lamella.store.chain import Chain
from lamella.store.objects import ObjectStore
from lamella.testing.models import model, spec, values

WIDE = spec("wide", 40 * 65_536 + 5, dtype="u8")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder: Path = tmp_path_factory.mktemp("store")
    with ObjectStore(folder / "store", create=True) as store:
        yield store.open(check_in(store, BytesFile(model([WIDE])), ()).manifest.rows[0].object)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.data())
def test_any_range_is_what_the_object_holds(chain, data):
    file = ObjectFile(chain)
    for _ in range(3):
        start = data.draw(st.integers(0, WIDE.nbytes))
        stop = min(WIDE.nbytes, start + data.draw(st.sampled_from([0, 1, 100, 65_536, 70_000, 40 * 65_536])))
        assert bytes(file.read_at(start, stop - start)) == values(WIDE)[start:stop]


def test_a_chunk_is_decoded_once_where_ranges_come_in_a_row(chain, monkeypatch):
    decoded: list[int] = []
    original = Chain.decode

    def decode(self: Chain, first: int, last: int, **options: object) -> bytearray:
        decoded.extend(range(first, last))
        return original(self, first, last, **options)

    monkeypatch.setattr(Chain, "decode", decode)
    file = ObjectFile(chain)
    for offset in range(0, WIDE.nbytes - 4, 1000):
        file.read_at(offset, 4)
    assert decoded == list(range(40))


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (0, WIDE.nbytes + 1), (WIDE.nbytes, 1), (5, -1)])
def test_what_is_not_there_is_refused(chain, offset, nbytes):
    with pytest.raises(FormatError) as caught:
        ObjectFile(chain).read_at(offset, nbytes)
    assert caught.value.kind == "file-truncated"
