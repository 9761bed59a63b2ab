"""The lines of a .gitattributes change hands, and every file is filtered by who has it."""

from __future__ import annotations

import pytest

from lamella.repo.takeover import taken_over

LFS = b"filter=lfs diff=lfs merge=lfs -text"
OURS = b"filter=lamella diff=lamella merge=lamella -text"


def line(pattern: bytes, words: bytes) -> bytes:
    return pattern + b" " + words + b"\n"


def test_lines_of_git_lfs_become_ours_in_place():
    content = b"# models\n\n" + line(b"*.pt", LFS) + b"*.py text\r\n" + line(b'"a b"', LFS + b" lockable")
    assert taken_over({b"": content}, [b"m.pt"], [], []) == {
        b"": b"# models\n\n" + line(b"*.pt", OURS) + b"*.py text\r\n" + line(b'"a b"', OURS + b" lockable")
    }  # fmt: skip


def test_what_is_ours_already_does_not_change():
    assert taken_over({b"": line(b"*.pt", OURS)}, [b"m.pt"], [], []) == {}
    assert taken_over({}, [], [], [b"*.pt"]) == {}


def test_patterns_are_said_once_at_the_root_where_files_are_taken():
    files = {b"": line(b"*.bin", LFS)}
    changed = taken_over(files, [b"d/m.pt"], [], [b"*.pt"])
    assert changed == {b"": line(b"*.bin", LFS) + line(b"*.pt", OURS)}
    assert taken_over(changed, [b"d/m.pt"], [], [b"*.pt"]) == {}


def test_a_pattern_that_stands_there_becomes_ours_and_others_stay():
    files = {b"": line(b"*.pt", LFS) + line(b"*.bin", LFS)}
    assert taken_over(files, [b"m.pt"], [], [b"*.pt"]) == {b"": line(b"*.pt", OURS) + line(b"*.bin", LFS)}


def test_a_nearer_folder_that_says_otherwise_gets_a_line_for_the_file():
    files = {b"": line(b"*.pt", LFS), b"d/": b"*.pt -filter\n"}
    assert taken_over(files, [b"d/m.pt"], [], [])[b"d/"] == b"*.pt -filter\n" + line(b"/m.pt", OURS)


def test_a_file_that_stays_a_pointer_keeps_the_filter_that_knows_it():
    changed = taken_over({b"": line(b"*.pt", LFS)}, [b"m.pt"], [b"d/x*[1].pt"], [])
    assert changed == {b"": line(b"*.pt", OURS), b"d/": line(rb"/x\*\[1].pt", LFS)}


def test_a_pointer_that_no_line_named_gets_one():
    assert taken_over({}, [b"m.pt"], [], []) == {b"": line(b"/m.pt", OURS)}


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_line_ends_of_a_file_are_kept(ending):
    (content,) = taken_over({b"": b"a text" + ending}, [b"m.pt"], [], [b"*.pt"]).values()
    assert content == b"a text" + (ending or b"\n") + b"*.pt " + OURS + (ending or b"\n")


def test_a_macro_that_stands_for_git_lfs_is_met_by_lines_of_our_own():
    files = {b"": b"[attr]large filter=lfs diff=lfs merge=lfs -text\n*.pt large\n"}
    assert taken_over(files, [b"m.pt"], [], [])[b""] == files[b""] + line(b"/m.pt", OURS)
