"""Which files of a folder are opened for a container that takes several."""

from __future__ import annotations

import os

import pytest

from lamella.core import limits
from lamella.formats import neighbours
from lamella.formats.neighbours import FolderNeighbours


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "one").write_bytes(b"1")
    (inside / "two").write_bytes(b"22")
    fd = os.open(inside, os.O_RDONLY)
    yield inside, fd
    os.close(fd)


def test_regular_files_are_listed_and_read(folder):
    inside, fd = folder
    (inside / "deeper").mkdir()
    (inside / "link").symlink_to("one")
    with FolderNeighbours(fd) as found:
        assert found.names() == ["one", "two"]
        two = found.open("two")
        assert two is not None
        assert bytes(two.read_at(0, two.nbytes)) == b"22"
        assert found.open("two") is two


def test_links_and_what_is_no_plain_name_are_not_opened(folder, tmp_path):
    inside, fd = folder
    (tmp_path / "secret").write_bytes(b"secret")
    (inside / "soft").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", inside / "hard")
    (inside / "deeper").mkdir()
    os.mkfifo(inside / "pipe")
    outside = [
        "",
        ".",
        "..",
        "../secret",
        str(tmp_path / "secret"),
        "deeper/x",
        "one\0",
        "soft",
        "hard",
        "deeper",
        "pipe",
    ]
    with FolderNeighbours(fd) as found:
        assert [name for name in (*outside, "absent") if found.open(name) is not None] == []


def test_nothing_stays_open(folder):
    _, fd = folder
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with FolderNeighbours(fd) as found:
        found.open("one")
        found.open("absent")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_crowded_folder_has_no_neighbours(folder, monkeypatch):
    _, fd = folder
    assert limits.MAX_NEIGHBOURS == neighbours.MAX_NEIGHBOURS
    monkeypatch.setattr(neighbours, "MAX_NEIGHBOURS", 1)
    with FolderNeighbours(fd) as found:
        assert found.names() == []
