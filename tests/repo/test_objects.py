"""Reading and writing Git's objects."""

from __future__ import annotations

import os
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.core.errors import BackendError, NotFoundError
from lamella.repo.git import GitOid
from lamella.repo.objects import IndexEntry, ObjectReader, TreeEntry, list_tree, tracked, write_blob
from tests.repo.committing import commit


def loose(git, oid):
    return git.common_dir / "objects" / oid[:2] / oid[2:]


def damage(file, content):
    file.chmod(0o644)
    file.write_bytes(content)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300))
def test_what_was_written_is_read(git_repository, data):
    oid = write_blob(git_repository, memoryview(data))
    with ObjectReader(git_repository, limit_nbytes=1000) as reader:
        found = reader.read(oid)
    assert (found.oid, found.type, found.nbytes, found.data) == (oid, "blob", len(data), data)


def test_blobs_are_written_past_every_filter(git_repository):
    (git_repository.root / ".gitattributes").write_text("* text eol=crlf filter=broken\n")
    git_repository.run("config", "filter.broken.clean", "false")
    git_repository.run("config", "filter.broken.required", "true")
    oid = write_blob(git_repository, b"a\r\nb\n")
    assert git_repository.run("cat-file", "blob", oid) == b"a\r\nb\n"


def test_objects_are_named_in_all_of_gits_ways(git_repository):
    head = commit(git_repository, {"a folder/a file": b"1", "b": b"2"})
    with ObjectReader(git_repository, limit_nbytes=1000) as reader:
        assert reader.read("HEAD").oid == head
        assert reader.read("HEAD").type == "commit"
        assert reader.read("HEAD^{tree}").type == "tree"
        assert reader.read("HEAD:a folder/a file").data == b"1"
        assert reader.read(":b").data == b"2"


@pytest.mark.parametrize("spec", ["nothing", "HEAD:nothing", "", "f" * 40, " ", "HEAD:a missing", "a\nb", "HEAD:\n"])
def test_a_name_of_nothing_reads_as_none_and_the_reader_goes_on(spec, git_repository):
    commit(git_repository, {"a": b"1"})
    with ObjectReader(git_repository, limit_nbytes=1000) as reader:
        assert reader.read(spec) is None
        assert reader.read("HEAD:a").data == b"1"


def test_a_name_that_ends_gits_process_is_an_error_and_the_reader_goes_on(git_repository):
    commit(git_repository, {"a": b"1"})
    with ObjectReader(git_repository, limit_nbytes=1000) as reader:
        with pytest.raises(NotFoundError) as caught:
            reader.read("@{upstream}")
        assert caught.value.kind == "revision-unknown"
        assert reader.read("HEAD:a").data == b"1"


def test_a_path_with_a_line_feed_and_one_that_is_no_utf8_are_read(git_repository):
    odd = os.fsdecode(b"\xff")
    commit(git_repository, {"a\nb": b"1", odd: b"2"})
    with ObjectReader(git_repository, limit_nbytes=1000) as reader:
        assert reader.read("HEAD:a\nb").data == b"1"
        assert reader.read(f"HEAD:{odd}").data == b"2"
    assert {entry.path for entry in list_tree(git_repository, "HEAD")} == {"a\nb", odd}
    assert {entry.path for entry in tracked(git_repository)} == {"a\nb", odd}


@pytest.mark.parametrize("nbytes", [0, 1, 99, 100, 101, 5_000_000])
def test_content_beyond_the_limit_is_not_kept(nbytes, git_repository):
    oid, small = write_blob(git_repository, b"x" * nbytes), write_blob(git_repository, b"small")
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        for _ in range(2):
            found = reader.read(oid)
            assert found.nbytes == nbytes
            assert found.matches
            assert found.data == (b"x" * nbytes if nbytes <= 100 else None)
            assert reader.read(small).data == b"small"


def test_a_very_long_body_is_dropped_with_its_process(git_repository):
    oid = write_blob(git_repository, b"lamella " + bytes(40_000_000))
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        assert reader.read(oid, prefix=b"other").data is None
        found = reader.read(oid, prefix=b"lamella")
        assert found.matches
        assert found.data is None


@pytest.mark.parametrize("content", [b"", b"p", b"prefi", b"prefix", b"prefix and more", b"pre", b"Prefix"])
def test_only_content_with_the_prefix_is_kept(content, git_repository):
    oid = write_blob(git_repository, content)
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        found = reader.read(oid, prefix=b"prefix")
        assert found.matches == content.startswith(b"prefix")
        assert found.data == (content if found.matches else None)
        assert reader.read(oid).data == content


def test_many_objects_are_read_as_one_by_one(git_repository):
    contents = [b"prefix %d" % number for number in range(150)]
    contents[40], contents[90] = b"prefix" + bytes(40_000_000), b"other"
    oids = [write_blob(git_repository, content) for content in contents]
    oids[7] = oids[149] = GitOid("f" * 40)
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        each = list(reader.read_each(iter(oids), prefix=b"prefix"))
        assert each == [reader.read(oid, prefix=b"prefix") for oid in oids]
    assert [each.index(found) for found in each if found is None or found.data is None] == [7, 40, 90, 7]


@pytest.mark.parametrize("taken", [0, 1, 35, 100])
def test_a_reader_goes_on_after_many_were_asked_for_and_few_taken(taken, git_repository):
    oids = [write_blob(git_repository, b"%d" % number) for number in range(100)]
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        each = reader.read_each(oids)
        assert [found.data for found in islice(each, taken)] == [b"%d" % number for number in range(taken)]
        each.close()
        assert reader.read(oids[99]).data == b"99"


def test_reading_many_stops_at_a_damaged_one(git_repository):
    oids = [write_blob(git_repository, bytes(range(256)) * (40 + number)) for number in range(100)]
    damage(loose(git_repository, oids[50]), loose(git_repository, oids[50]).read_bytes()[:400])
    with ObjectReader(git_repository, limit_nbytes=100_000) as reader:
        each = reader.read_each(oids)
        assert sum(1 for _ in islice(each, 50)) == 50
        with pytest.raises(BackendError) as caught:
            next(each)
        assert caught.value.kind == "git-failed"
        assert next(each, None) is None
        assert reader.read(oids[99]).nbytes == 256 * 139


def test_a_replaced_object_is_read_as_the_reader_was_told(git_repository):
    old, new = write_blob(git_repository, b"old"), write_blob(git_repository, b"new")
    git_repository.run("replace", old, new)
    with ObjectReader(git_repository, limit_nbytes=100) as reader:
        assert reader.read(old).data == b"new"
    with ObjectReader(git_repository, limit_nbytes=100, replace=False) as reader:
        assert reader.read(old).data == b"old"


def test_a_damaged_body_is_an_error_and_the_reader_goes_on(git_repository):
    oid, other = write_blob(git_repository, bytes(range(256)) * 40), write_blob(git_repository, b"small")
    damage(loose(git_repository, oid), loose(git_repository, oid).read_bytes()[:60])
    with ObjectReader(git_repository, limit_nbytes=100_000) as reader:
        with pytest.raises(BackendError) as caught:
            reader.read(oid)
        assert caught.value.kind == "git-failed"
        assert reader.read(other).data == b"small"


def test_a_closed_reader_opens_again(git_repository):
    oid = write_blob(git_repository, b"1")
    reader = ObjectReader(git_repository, limit_nbytes=100)
    assert reader.read(oid).data == b"1"
    reader.close()
    assert reader.read(oid).data == b"1"
    reader.close()
    reader.close()


def test_a_reader_that_was_not_used_started_nothing(git_repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with ObjectReader(git_repository, limit_nbytes=1) as reader:
        assert reader._running is None


def test_a_tree_is_listed_with_modes_and_submodules(make_repository):
    inner, git = make_repository("inner"), make_repository("outer")
    commit(inner, {"x": b"1"})
    git.run("submodule", "--quiet", "add", "--", str(inner.root), "part")
    (git.root / "run").write_bytes(b"1")
    (git.root / "run").chmod(0o755)
    (git.root / "link").symlink_to("run")
    commit(git, {"run": b"1", "d/e/f": b"2"})
    git.run("add", "link")
    git.run("commit", "--quiet", "--message", "link")
    entries = {entry.path: entry for entry in list_tree(git, "HEAD")}
    assert {path: entry.mode for path, entry in entries.items()} == {
        ".gitmodules": 0o100644, "run": 0o100755, "link": 0o120000, "d/e/f": 0o100644, "part": 0o160000,
    }  # fmt: skip
    assert entries["part"] == TreeEntry("part", 0o160000, "commit", inner.resolve("HEAD"))
    assert entries["d/e/f"].oid == git.resolve("HEAD:d/e/f")


@pytest.mark.parametrize("revision", ["nothing", "HEAD:a", "-r", "--help"])
def test_listing_what_is_no_tree_is_refused(revision, git_repository):
    commit(git_repository, {"a": b"1"})
    with pytest.raises((NotFoundError, ValueError)):
        list_tree(git_repository, revision)


def test_an_empty_index_lists_nothing(git_repository):
    assert tracked(git_repository) == []
    assert tracked(git_repository, []) == []
    assert tracked(git_repository, ["a"]) == []


def test_the_index_is_listed_below_literal_paths(git_repository):
    commit(git_repository, {"a/1": b"1", "a/2": b"2", "b": b"3", "*": b"4", ":(glob)**": b"5"})
    assert [entry.path for entry in tracked(git_repository)] == ["*", ":(glob)**", "a/1", "a/2", "b"]
    assert [entry.path for entry in tracked(git_repository, ["*"])] == ["*"]
    assert [entry.path for entry in tracked(git_repository, [":(glob)**"])] == [":(glob)**"]
    assert [entry.path for entry in tracked(git_repository, ["b", "a", "a/1"])] == ["a/1", "a/2", "b"]


def test_very_many_paths_can_be_asked_for(git_repository):
    commit(git_repository, {f"{number:04}": b"" for number in range(1500)})
    paths = [f"{number:04}" for number in range(1499, -1, -1)]
    assert [entry.path for entry in tracked(git_repository, paths)] == sorted(paths)


def test_a_conflict_shows_its_stages(git_repository):
    commit(git_repository, {"a": b"0"})
    git_repository.run("branch", "other")
    ours = commit(git_repository, {"a": b"1"})
    git_repository.run("switch", "--quiet", "other")
    commit(git_repository, {"a": b"2"})
    git_repository.run("merge", "main", check=False)
    stages = [(entry.stage, entry.oid) for entry in tracked(git_repository)]
    assert [stage for stage, _ in stages] == [1, 2, 3]
    assert stages[2][1] == git_repository.resolve(f"{ours}:a")


def test_a_staged_file_is_an_index_entry(git_repository):
    (git_repository.root / "a").write_bytes(b"1")
    git_repository.run("add", "a")
    oid = git_repository.resolve(":a")
    assert tracked(git_repository) == [IndexEntry("a", 0o100644, oid, 0)]
