"""What DVC's files say is read, and not trusted."""

from __future__ import annotations

import hashlib
import json

import pytest

from lamella.core.errors import FormatError, IntegrityError, NotFoundError
from lamella.repo.dvc import DvcCache, Output, read_dvc_file, read_dvc_lock

MD5 = "0123456789abcdef0123456789abcdef"


def dvc_file(path: str = "m.pt", md5: str = MD5, more: str = "") -> bytes:
    return f"outs:\n- md5: {md5}\n  size: 7\n  hash: md5\n  path: {path}\n{more}".encode()


def test_a_dvc_file_says_path_digest_and_length():
    assert read_dvc_file("d/m.pt.dvc", dvc_file()) == [Output("d/m.pt", MD5, 7, executable=False)]
    assert read_dvc_file("d/x.dvc", b"wdir: ../e\n" + dvc_file("./f/m.pt")) == [Output("e/f/m.pt", MD5, 7, False)]
    (folder,) = read_dvc_file("x.dvc", dvc_file("data", f"{MD5}.dir", "  isexec: true\n"))
    assert (folder.is_folder, folder.nbytes, folder.executable) == (True, -1, True)
    assert read_dvc_file("x.dvc", b"deps:\n- path: a\n") == []


@pytest.mark.parametrize(
    "path",
    [
        "../m",
        "/etc/passwd",
        "a/../../m",
        ".git/config",
        "d/.GIT/hooks/x",
        "",
        ".",
        "..",
        '"a\\nb"',
        '"a\\0b"',
        "a\\b",
        "a/" * 9999 + "b",
    ],
)
def test_a_path_that_leaves_the_repository_is_refused(path):
    with pytest.raises(FormatError):
        read_dvc_file("x.dvc", dvc_file(path))
    with pytest.raises(FormatError):
        read_dvc_file("d/x.dvc", b"wdir: ../..\n" + dvc_file("m.pt"))


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"x",
            b"outs: x",
            b"outs:\n- x",
            b"outs:\n- path: a\n",
            dvc_file(md5="../../x"),
            dvc_file(md5=MD5.upper()),
        ),
        *(dvc_file().replace(b"size: 7", b"size: -1"), dvc_file().replace(b"hash: md5", b"hash: sha256")),
        dvc_file().replace(b"size: 7", b"size: " + b"9" * 19),
    ],
)
def test_a_malformed_file_is_refused(text):
    with pytest.raises(FormatError):
        read_dvc_file("x.dvc", text)


def test_a_path_in_a_lock_that_is_none_is_refused():
    with pytest.raises(FormatError, match="has no path"):
        read_dvc_lock("dvc.lock", f"train:\n  outs:\n  - path:\n    - a\n    md5: {MD5}\n".encode(), None)


def test_a_lock_names_what_stages_made_save_what_git_keeps():
    lock = b"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n"
    lock += b"".join(f"    - path: {name}\n      md5: {MD5}\n".encode() for name in ("m.pt", "scores.json"))
    pipeline = b"stages:\n  train:\n    wdir: sub\n    metrics:\n    - scores.json:\n        cache: false\n"
    assert [one.path for one in read_dvc_lock("d/dvc.lock", lock, pipeline)] == ["d/sub/m.pt"]
    assert [one.path for one in read_dvc_lock("dvc.lock", lock, None)] == ["m.pt", "scores.json"]
    old = lock.split(b"stages:\n")[1]
    assert [one.path for one in read_dvc_lock("dvc.lock", old, None)] == ["m.pt", "scores.json"]


@pytest.fixture
def cache(tmp_path):
    (tmp_path / ".dvc").mkdir()
    return DvcCache(tmp_path)


def put(cache: DvcCache, data: bytes, *, old: bool = False, ending: str = "", md5: str | None = None) -> str:
    digest = md5 or hashlib.md5(data).hexdigest()
    place = (cache.folder if old else cache.folder / "files/md5") / digest[:2] / (digest[2:] + ending)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return digest + ending


@pytest.mark.parametrize("old", [False, True])
def test_files_of_both_layouts_are_held_against_their_digest(cache, tmp_path, old):
    good = put(cache, b"content", old=old)
    with cache.content(good, 7).opened(tmp_path) as file:
        assert bytes(file.read_at(0, 7)) == b"content"
    bad = put(cache, b"another", old=old, md5=MD5)
    with pytest.raises(IntegrityError), cache.content(bad, 7).opened(tmp_path):
        pass
    with pytest.raises(NotFoundError), cache.content(good, 8).opened(tmp_path):
        pass


@pytest.mark.parametrize("text", [b"a\r\nb\r\n", b"\r" * (1 << 20) + b"\r\n" + b"\n\r" * 10])
def test_a_text_of_version_2_has_the_digest_of_its_unix_form(cache, tmp_path, text):
    md5 = put(cache, text, old=True, md5=hashlib.md5(text.replace(b"\r\n", b"\n")).hexdigest())
    with cache.content(md5, len(text)).opened(tmp_path) as file:
        assert file.nbytes == len(text)


def test_a_folder_is_the_files_that_its_list_names(cache):
    listing = json.dumps([{"md5": MD5, "relpath": "a.pt"}, {"md5": MD5, "relpath": "b/c.pt"}]).encode()
    output = Output("data", put(cache, listing, ending=".dir"), -1, executable=False)
    assert [one.path for one in cache.files(output)] == ["data/a.pt", "data/b/c.pt"]
    with pytest.raises(NotFoundError):
        list(cache.files(Output("data", f"{MD5}.dir", -1, executable=False)))
    with pytest.raises(FormatError):
        list(cache.files(Output("data", put(cache, b"[]", ending=".dir", md5=MD5), -1, executable=False)))


@pytest.mark.parametrize(
    "items",
    [
        *("{}", "[1]", "x", "[" * 100_000, '[{"md5": "x", "relpath": "a"}]'),
        json.dumps([{"md5": f"{MD5}.dir", "relpath": "a"}]),
        json.dumps([{"md5": MD5, "relpath": "\ud800"}]),
        *(json.dumps([{"md5": MD5, "relpath": path}]) for path in ("../a", "/a", "a/../../b", "", ".git/x", "..")),
    ],
)  # fmt: skip
def test_a_list_that_names_something_else_is_refused(cache, items):
    output = Output("data", put(cache, items.encode(), ending=".dir"), -1, executable=False)
    with pytest.raises(FormatError):
        list(cache.files(output))


def test_the_cache_may_lie_elsewhere(tmp_path):
    settings = tmp_path / ".dvc"
    settings.mkdir()
    (settings / "config").write_text("[cache]\n    dir = ../shared\n['remote \"x\"']\n    url = s3://a\n")
    assert DvcCache(tmp_path).folder == settings / "../shared"
    (settings / "config.local").write_text("no section")
    with pytest.raises(FormatError):
        DvcCache(tmp_path)
