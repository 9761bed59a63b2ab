"""Files read by ranges: exact lengths, or an error."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import BackendError, FormatError
from lamella.formats.file import BytesFile, DescriptorFile

DATA = bytes(range(256)) * 8


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["descriptor", "bytes"])
def file(request, path):
    if request.param == "bytes":
        yield BytesFile(DATA)
        return
    fd = os.open(path, os.O_RDONLY)
    yield DescriptorFile(fd, len(DATA), path)
    os.close(fd)


def test_ranges_inside_the_file_are_read_exactly(file):
    assert file.nbytes == len(DATA)
    for offset, nbytes in [(0, 0), (0, 1), (5, 100), (0, len(DATA)), (len(DATA) - 1, 1), (len(DATA), 0)]:
        assert bytes(file.read_at(offset, nbytes)) == DATA[offset : offset + nbytes]


@pytest.mark.parametrize(
    ("offset", "nbytes"), [(0, 2049), (2048, 1), (2049, 0), (-1, 1), (5, -1), (1 << 70, 1), (0, 1 << 62)]
)
def test_ranges_that_leave_the_file_are_refused_before_anything_is_allocated(file, offset, nbytes):
    with pytest.raises(FormatError) as caught:
        file.read_at(offset, nbytes)
    assert caught.value.kind == "file-truncated"


def test_a_file_that_shrinks_is_an_error(path):
    with path.open("r+b") as stream:
        file = DescriptorFile(stream.fileno(), len(DATA), path)
        stream.truncate(1000)
        assert file.read_at(0, 1000) == DATA[:1000]
        for offset, nbytes in [(0, 1001), (1000, 1), (1500, 10)]:
            with pytest.raises(FormatError) as caught:
                file.read_at(offset, nbytes)
            assert caught.value.kind == "file-truncated"


def test_a_file_that_grows_keeps_the_length_it_had(path):
    with path.open("r+b") as stream:
        file = DescriptorFile(stream.fileno(), 1000)
        assert file.nbytes == 1000
        with pytest.raises(FormatError):
            file.read_at(990, 11)


def test_short_reads_are_put_together(path, monkeypatch):
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, nbytes, offset: read(fd, min(nbytes, 100), offset))
    with path.open("rb") as stream:
        assert DescriptorFile(stream.fileno(), len(DATA)).read_at(3, 2000) == DATA[3:2003]


def test_a_failing_disk_is_a_backend_error_that_names_the_file(path):
    fd = os.open(path, os.O_RDONLY)
    os.close(fd)
    with pytest.raises(BackendError, match="file"):
        DescriptorFile(fd, len(DATA), path).read_at(0, 1)


def test_threads_read_one_descriptor_at_once(path):
    wrong = []
    with path.open("rb") as stream:
        file = DescriptorFile(stream.fileno(), len(DATA))

        def read(start):
            for offset in range(start, 2000, 7):
                if file.read_at(offset, 48) != DATA[offset : offset + 48]:
                    wrong.append(offset)

        threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@given(data=st.binary(max_size=100), offset=st.integers(-5, 110), nbytes=st.integers(-5, 110))
def test_bytes_lend_a_view_or_refuse(data, offset, nbytes):
    file = BytesFile(bytearray(data))
    if 0 <= offset <= offset + nbytes <= len(data):
        view = file.read_at(offset, nbytes)
        assert view == data[offset : offset + nbytes]
        assert memoryview(view).readonly
    else:
        with pytest.raises(FormatError):
            file.read_at(offset, nbytes)
