"""Stat data in Git's index: what Git does and does not do after it was patched."""

from __future__ import annotations

import os
import struct
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import ConflictError, FormatError
from lamella.repo.git import Git
from lamella.repo.gitindex import refresh_stat
from lamella.repo.objects import tracked
from tests.repo.committing import commit

LONG_AGO = int(time.time()) - 100


def count_filter_runs(git):
    """Make git append a line to a file whenever it cleans a *.bin; return a function that counts and forgets them."""
    counter = git.common_dir / "filtered"
    git.run("config", "filter.lamella.clean", f"echo >>'{counter}'; cat")
    (git.root / ".gitattributes").write_text("*.bin filter=lamella\n")

    def runs():
        count = counter.read_bytes().count(b"\n") if counter.exists() else 0
        counter.unlink(missing_ok=True)
        return count

    return runs


def write_anew(git, paths):
    """Replace files by equal ones, as a checkout of ours does, and return what the index is to hold of them."""
    expected = {}
    for path in paths:
        file = git.root / path
        fresh = file.with_name("fresh")
        fresh.write_bytes(file.read_bytes())
        fresh.rename(file)
        second = int(time.time()) - 1
        os.utime(file, (second, second))
        expected[os.fsencode(path)] = (bytes.fromhex(git.resolve(f":{path}")), file.stat())
    return expected


def refresh(git, expected):
    return refresh_stat(git.index_path, expected, git.hash_name)


def settle(git):
    """Make all that was written so far older than the second of the index, as it is in ordinary use."""
    for entry in tracked(git):
        file = git.root / entry.path
        if file.is_file() and not file.is_symlink():
            os.utime(file, (LONG_AGO, LONG_AGO))
    git.run("status")


@pytest.fixture(params=["2", "4", "sha256", "skip-hash"])
def git(request, make_repository):
    """A repository with six filtered files and two others, in each form of the index."""
    git = make_repository("r", *(["--object-format=sha256"] if request.param == "sha256" else []))
    git.run("config", "index.version", request.param if request.param in "24" else "2")
    git.run("config", "index.skipHash", "true" if request.param == "skip-hash" else "false")
    runs = count_filter_runs(git)
    names = ["a.bin", "a.bin.txt", "d/b.bin", "d/deeper/c.bin", "d/deeper/c2.bin", "x" * 200 + ".bin", "ü.bin", "z"]
    commit(git, {name: name.encode() * 30 for name in names})
    settle(git)
    runs()
    return git


@pytest.fixture
def runs(git):
    return count_filter_runs(git)


BINS = ["a.bin", "d/b.bin", "d/deeper/c.bin", "d/deeper/c2.bin", "x" * 200 + ".bin", "ü.bin"]


def test_without_the_patch_git_runs_the_filter(git, runs):
    write_anew(git, BINS)
    assert git.run("status", "--porcelain") == b"?? .gitattributes\n"
    assert runs() == len(BINS)


def test_after_the_patch_git_runs_no_filter(git, runs):
    assert refresh(git, write_anew(git, BINS)) == len(BINS)
    assert git.run("status", "--porcelain") == b"?? .gitattributes\n"
    assert git.run("diff", "--stat") == b""
    assert runs() == 0
    git.run("fsck", "--strict")
    assert git.run("ls-files", "--debug").count(b"size: ") == 8


def test_git_writes_the_same_stat_data(git):
    expected = write_anew(git, BINS)
    refresh(git, expected)
    ours = git.run("ls-files", "--debug", "--", *BINS)
    git.run("update-index", "--really-refresh")
    assert git.run("ls-files", "--debug", "--", *BINS) == ours


def test_a_change_after_the_patch_is_seen(git, runs):
    refresh(git, write_anew(git, BINS))
    (git.root / "a.bin").write_bytes(b"other")
    assert b" M a.bin" in git.run("status", "--porcelain")


def test_a_change_in_the_second_of_the_old_index_is_still_seen(git, runs):
    expected = write_anew(git, ["a.bin"])
    git.run("config", "core.trustctime", "false")
    second = LONG_AGO + 1
    (git.root / "z").write_bytes(b"1" * 30)
    os.utime(git.root / "z", (second, second))
    git.run("add", "z")
    (git.root / "z").write_bytes(b"2" * 30)
    os.utime(git.root / "z", (second, second))
    assert b"z\n" not in git.run("diff-files", "--name-only"), "only the time of the index tells"
    os.utime(git.index_path, (second, second))
    assert b"z\n" in git.run("diff-files", "--name-only")
    assert refresh(git, expected) == 1
    runs()
    assert git.run("status", "--porcelain") == b"MM z\n?? .gitattributes\n"
    assert runs() == 0


def test_an_entry_with_another_object_is_left_alone(git, runs):
    expected = write_anew(git, ["a.bin", "d/b.bin"])
    (git.root / "a.bin").write_bytes(b"changed meanwhile")
    os.utime(git.root / "a.bin", (LONG_AGO, LONG_AGO))
    git.run("add", "a.bin")
    staged = git.run("ls-files", "--debug", "a.bin")
    assert refresh(git, expected) == 1
    assert git.run("ls-files", "--debug", "a.bin") == staged


def test_nothing_is_written_where_nothing_fits(git):
    state = git.index_path.stat()
    expected = write_anew(git, ["a.bin"])
    assert refresh(git, {}) == 0
    assert refresh(git, {b"nowhere": expected[b"a.bin"], b"a.bi": expected[b"a.bin"]}) == 0
    assert git.index_path.stat() == state


def test_flagged_and_conflicting_entries_are_left_alone(git, runs):
    expected = write_anew(git, BINS)
    git.run("update-index", "--skip-worktree", "a.bin")
    git.run("update-index", "--assume-unchanged", "d/b.bin")
    (git.root / "new.bin").write_bytes(b"")
    git.run("add", "--intent-to-add", "new.bin")
    expected[b"new.bin"] = (bytes.fromhex(git.resolve(":new.bin")), (git.root / "new.bin").stat())
    blob = git.resolve(":d/deeper/c.bin")
    rows = f"0 {'0' * len(blob)}\td/deeper/c.bin\n" + "".join(
        f"100644 {blob} {stage}\td/deeper/c.bin\n" for stage in (1, 2, 3)
    )
    git.run("update-index", "--index-info", input=rows.encode())
    before = git.run("ls-files", "--debug", "a.bin", "d/b.bin", "new.bin", "d/deeper/c.bin")
    assert refresh(git, expected) == len(BINS) - 3
    assert git.run("ls-files", "--debug", "a.bin", "d/b.bin", "new.bin", "d/deeper/c.bin") == before
    runs()
    git.run("status")
    assert runs() <= 1, "only the file that is new to git"


def test_the_second_of_the_index_itself_costs_filter_runs_and_hides_nothing(git, runs):
    git.run("config", "core.trustctime", "false")
    expected = write_anew(git, ["a.bin"])
    second = int((git.root / "a.bin").stat().st_mtime)
    refresh(git, expected)
    os.utime(git.index_path, (second, second))
    git.run("diff-files")
    assert runs() == 1
    (git.root / "a.bin").write_bytes(b"A.BIN" * 30)
    os.utime(git.root / "a.bin", (second, second))
    assert b" M a.bin" in git.run("status", "--porcelain")


def test_extensions_stay_byte_for_byte(git, runs):
    git.run("config", "core.untrackedCache", "true")
    git.run("update-index", "--untracked-cache")
    git.run("status")
    settle(git)
    git.run("update-index", "--force-write-index")
    before = git.index_path.read_bytes()
    assert b"TREE" in before
    assert b"UNTR" in before
    refresh(git, write_anew(git, BINS))
    after = git.index_path.read_bytes()
    width = 32 if git.hash_name == "sha256" else 20
    extensions = before.index(b"TREE")
    assert after[extensions:-width] == before[extensions:-width]
    assert len(after) == len(before)
    runs()
    assert git.run("status", "--porcelain") == b"?? .gitattributes\n"
    assert runs() == 0


def test_a_sparse_index_is_patched(git, runs):
    git.run("sparse-checkout", "init", "--cone", "--sparse-index")
    git.run("sparse-checkout", "set", "other")
    settle(git)
    runs()
    assert b"sdir" in git.index_path.read_bytes()
    assert refresh(git, write_anew(git, ["a.bin"])) == 1
    git.run("status")
    assert runs() == 0


def test_a_sparse_checkout_without_a_sparse_index_is_patched(git, runs):
    git.run("sparse-checkout", "set", "--no-cone", "/*.bin")
    settle(git)
    runs()
    assert refresh(git, write_anew(git, ["a.bin", "ü.bin"])) == 2
    git.run("status")
    assert runs() == 0


def test_the_index_of_a_linked_worktree_is_patched(git, runs, tmp_path):
    git.run("worktree", "add", "--quiet", "--", str(tmp_path / "linked"))
    (tmp_path / "linked" / ".gitattributes").write_text("*.bin filter=lamella\n")
    linked = Git.discover(tmp_path / "linked")
    settle(linked)
    runs()
    assert refresh(linked, write_anew(linked, BINS)) == len(BINS)
    linked.run("status")
    assert runs() == 0


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_big_index_is_patched(version, make_repository):
    git = make_repository()
    git.run("config", "index.version", version)
    runs = count_filter_runs(git)
    commit(git, {f"{number % 7}/{number:05}": b"" for number in range(5000)} | {"m.bin": b"1", "9/m.bin": b"2"})
    settle(git)
    assert refresh(git, write_anew(git, ["m.bin", "9/m.bin"])) == 2
    runs()
    assert git.run("status", "--porcelain") == b"?? .gitattributes\n"
    assert runs() == 0


def test_a_link_and_a_submodule_are_stepped_over(make_repository):
    git, inner = make_repository(), make_repository("inner")
    commit(inner, {"a": b"1"})
    git.run("submodule", "--quiet", "add", "--", str(inner.root), "part")
    (git.root / "link").symlink_to("part")
    git.run("add", "link")
    commit(git, {"z.bin": b"1"})
    link = (bytes.fromhex(git.resolve(":link")), (git.root / "link").lstat())
    assert refresh(git, write_anew(git, ["z.bin"]) | {b"link": link}) == 1
    assert git.run("status", "--porcelain") == b""


def test_a_path_longer_than_its_field_is_found(make_repository):
    git = make_repository()
    blob = git.run("hash-object", "-w", "--stdin").decode().strip()
    long = "/".join(["d" * 200] * 30)
    git.run("update-index", "--index-info", input=f"100644 {blob}\t{long}\n100644 {blob}\tz\n".encode())
    (git.root / "z").touch()
    state = (git.root / "z").stat()
    assert refresh(git, {b"z": (bytes.fromhex(blob), state), long.encode(): (bytes.fromhex(blob), state)}) == 2
    assert git.run("ls-files").decode() == f"{long}\nz\n"


def test_a_split_index_is_refused(git):
    git.run("update-index", "--split-index")
    with pytest.raises(FormatError) as caught:
        refresh(git, write_anew(git, ["a.bin"]))
    assert caught.value.kind == "index-format"


def test_no_index_has_no_entries(git_repository, tmp_path):
    assert refresh(git_repository, {b"a": (bytes(20), tmp_path.stat())}) == 0


def test_an_index_that_is_a_link_or_a_folder_is_refused(git):
    expected = write_anew(git, ["a.bin"])
    moved = git.index_path.with_name("moved")
    git.index_path.rename(moved)
    git.index_path.symlink_to(moved)
    with pytest.raises(FormatError):
        refresh(git, expected)
    git.index_path.unlink()
    git.index_path.mkdir()
    with pytest.raises(FormatError):
        refresh(git, expected)


def test_the_permissions_of_the_index_stay(git):
    git.index_path.chmod(0o664)
    refresh(git, write_anew(git, ["a.bin"]))
    assert git.index_path.stat().st_mode & 0o777 == 0o664


def test_a_locked_index_is_a_conflict_and_the_lock_stays(git):
    lock = git.index_path.with_name("index.lock")
    lock.write_bytes(b"git's")
    expected = write_anew(git, ["a.bin"])
    before = git.index_path.read_bytes()
    with pytest.raises(ConflictError) as caught:
        refresh(git, expected)
    assert caught.value.kind == "lock-held"
    assert lock.read_bytes() == b"git's"
    assert git.index_path.read_bytes() == before


def test_git_waits_for_nobody_afterwards(git):
    refresh(git, write_anew(git, ["a.bin"]))
    assert sorted(path.name for path in git.git_dir.iterdir() if "lock" in path.name or "tmp" in path.name) == []
    subprocess.run(["git", "add", "--all"], cwd=git.root, check=True)


def index(git):
    width = 32 if git.hash_name == "sha256" else 20
    return git.index_path.read_bytes()[:-width], width


@pytest.fixture
def small(git_repository):
    """A repository of three entries, and the expectation that would patch one."""
    commit(git_repository, {"a": b"1", "b/c": b"2", "b/d": b"3"})
    return git_repository, write_anew(git_repository, ["b/c"])


@pytest.mark.parametrize("version", ["2", "4"])
def test_every_cut_and_every_flipped_byte_is_refused(version, small):
    git, expected = small
    git.run("update-index", "--index-version", version)
    whole = git.index_path.read_bytes()
    for length in range(len(whole)):
        git.index_path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            refresh(git, expected)
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 0x40
        git.index_path.write_bytes(flipped)
        with pytest.raises(FormatError):
            refresh(git, expected)


@pytest.mark.parametrize("version", ["2", "4"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_with_no_checksum_to_save_it_hostile_bytes_are_refused_or_harmless(version, data, tmp_path_factory):
    entry = bytes(40) + b"o" * 20 + struct.pack(">H", 1) + (b"a\0" if version == "2" else b"\0a\0")
    body = bytearray(b"DIRC" + struct.pack(">LL", int(version), 1) + entry + b"TREE\0\0\0\1x")
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("index") / "index"
    path.write_bytes(body[: data.draw(st.integers(len(body) - 6, len(body)))] + bytes(20))
    before = path.read_bytes()
    try:
        refresh_stat(path, {b"a": (b"o" * 20, path.stat())}, "sha1")
    except FormatError as error:
        assert error.kind == "index-format"
        assert path.read_bytes() == before
    assert len(path.read_bytes()) == len(before)


@pytest.mark.parametrize(
    ("signature", "accepted"),
    [(b"ABCD", True), (b"sdir", True), (b"link", False), (b"abcd", False), (b"\0\0\0\0", False)],
)
def test_extensions_are_taken_as_git_takes_them(signature, accepted, small):
    git, expected = small
    body, width = index(git)
    git.index_path.write_bytes(body + signature + struct.pack(">L", 3) + b"xyz" + bytes(width))
    if accepted:
        assert refresh(git, expected) == 1
        assert git.index_path.read_bytes().endswith(signature + b"\0\0\0\3xyz" + bytes(width))
    else:
        with pytest.raises(FormatError):
            refresh(git, expected)


def test_times_and_sizes_beyond_32_bits_are_cut_as_git_cuts_them(small):
    git, expected = small
    oid, state = expected[b"b/c"]
    fields = list(state)
    for size, kept in ((0, 0), (1 << 32, 0x80000000), ((1 << 32) + 5, 5), (5, 5)):
        fields[6] = size
        fields[1] = (1 << 40) + 7
        refresh(git, {b"b/c": (oid, os.stat_result(fields, {"st_mtime_ns": -1, "st_ctime_ns": 1 << 70}))})
        shown = git.run("ls-files", "--debug", "b/c").decode()
        assert f"size: {kept}\t" in shown
        assert "ino: 7\n" in shown
        assert "mtime: 4294967295:999999999" in shown
