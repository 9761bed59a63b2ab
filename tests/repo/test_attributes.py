"""Which paths are filtered, and the lines of .gitattributes."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lamella.core.errors import UsageError
from lamella.repo.attributes import filtered, patterns, track, untrack

OURS = b"filter=lamella diff=lamella merge=lamella -text"


@pytest.fixture
def file(git_repository):
    return git_repository.root / ".gitattributes"


def test_tracking_writes_one_line_once(file):
    assert track(file, "*.safetensors")
    assert file.read_bytes() == b"*.safetensors " + OURS + b"\n"
    assert not track(file, "*.safetensors")
    assert file.read_bytes() == b"*.safetensors " + OURS + b"\n"


def test_git_reads_what_was_written(file, git_repository):
    for pattern in ("*.safetensors", "folder/**", "my model.bin", "/root.pt"):
        track(file, pattern)
    paths = ["a.safetensors", "x/b.safetensors", "folder/deep/c", "my model.bin", "x/root.pt", "root.pt", "a.txt"]
    assert filtered(git_repository, paths) == [*paths[:4], "root.pt"]
    values = git_repository.run("check-attr", "diff", "merge", "text", "--", "a.safetensors").decode()
    assert values.splitlines() == [
        "a.safetensors: diff: lamella", "a.safetensors: merge: lamella", "a.safetensors: text: unset",
    ]  # fmt: skip


def test_no_paths_ask_nothing(git_repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert filtered(git_repository, []) == []


def test_odd_paths_are_asked_for(file, git_repository):
    track(file, "*.pt")
    paths = ["a\nb.pt", os.fsdecode(b"\xff.pt"), "a b.pt", "-x.pt", ":(glob).pt"]
    assert filtered(git_repository, iter(paths)) == paths


def test_the_innermost_and_last_line_decides(file, git_repository):
    track(file, "*.pt")
    (git_repository.root / "plain").mkdir()
    (git_repository.root / "plain" / ".gitattributes").write_text("*.pt -filter\n")
    assert filtered(git_repository, ["a.pt", "plain/a.pt"]) == ["a.pt"]


KEPT = [
    b"# a comment\n\n*.png binary\n",
    b"# no line feed at the end",
    b"\r\n# windows\r\n*.txt text\r\n",
    b"[attr]binary -diff -merge -text\n",
    b'"a \\"quoted\\" name" text\n',
    b"  *.txt\ttext  eol=lf  \n",
    b"\xff\xfe not text\n",
    b"*.bin text lockable\n",
    b"*.binary filter=lamella\n",
]


@pytest.mark.parametrize("before", KEPT)
def test_the_users_lines_stay_as_they_are(before, file):
    file.write_bytes(before)
    track(file, "*.bin")
    after = file.read_bytes()
    assert after.startswith(before)
    ending = b"\r\n" if b"\r\n" in before else b"\n"
    assert after.removeprefix(before).strip() == b"*.bin " + OURS
    assert after.endswith(ending)
    untrack(file, "*.bin")
    assert file.read_bytes() == (before if before.endswith(b"\n") else before + b"\n")


def test_untracking_the_only_line_removes_the_file(file):
    track(file, "*.pt")
    assert untrack(file, "*.pt")
    assert not file.exists()
    assert not untrack(file, "*.pt")
    assert patterns(file) == []


def test_untracking_leaves_other_attributes_of_the_line(file):
    file.write_bytes(b"*.pt filter=lamella lockable diff=lamella merge=lamella -text\r\n# end\r\n")
    assert untrack(file, "*.pt")
    assert file.read_bytes() == b"*.pt lockable\r\n# end\r\n"


def test_a_line_that_was_overruled_is_written_again(file, git_repository):
    track(file, "*.pt")
    file.write_bytes(file.read_bytes() + b"*.pt filter=lfs diff=lfs merge=lfs -text\n")
    assert filtered(git_repository, ["a.pt"]) == []
    assert track(file, "*.pt")
    assert filtered(git_repository, ["a.pt"]) == ["a.pt"]
    assert patterns(file) == ["*.pt"]


@pytest.mark.parametrize("line", [b"*.pt -filter\n", b"*.pt !filter\n", b"*.pt filter\n"])
def test_every_way_to_overrule_is_seen(line, file, git_repository):
    track(file, "*.pt")
    file.write_bytes(file.read_bytes() + line)
    assert track(file, "*.pt")
    assert filtered(git_repository, ["a.pt"]) == ["a.pt"]


def test_patterns_are_listed_in_their_order(file):
    for pattern in ("*.pt", "my model", "*.pt", "a/**"):
        track(file, pattern)
    file.write_bytes(b"# x filter=lamella\n*.png filter=lfs\n" + file.read_bytes())
    assert patterns(file) == ["*.pt", "my model", "a/**"]


@pytest.mark.parametrize("pattern", ["", "!*.pt", "[attr]x", "../a", "a/../b", ".", "./", "a\0b", "x" * 3000, "/"])
def test_a_pattern_that_git_would_not_obey_is_refused(pattern, file):
    with pytest.raises(UsageError) as caught:
        track(file, pattern)
    assert caught.value.kind == "bad-argument"
    assert not file.exists()


PATHS = {
    "./a.bin": "/a.bin",
    ".//a.bin": "/a.bin",
    "{root}/a.bin": "/a.bin",
    "{root}/*.bin": "/*.bin",
    "{link}/a.bin": "/a.bin",
    "/a.bin": "/a.bin",
    "folder/": "folder/**",
    "models": "models/**",
    "models/": "models/**",
    "./models": "models/**",
    "{root}/models": "models/**",
    "{link}/models/": "models/**",
    "models/./x.bin": "models/x.bin",
    "w[1].bin": "w\\[1].bin",
    "a.bin": "a.bin",
    "*.bin": "*.bin",
}


@pytest.mark.parametrize("given", PATHS)
def test_a_path_means_what_it_means_to_a_shell(given, file, git_repository, tmp_path):
    root = git_repository.root
    (tmp_path / "link").symlink_to(root)
    (root / "models").mkdir()
    for name in ("a.bin", "w[1].bin", "models/x.bin"):
        (root / name).touch()
    written = given.format(root=root, link=tmp_path / "link")
    assert track(file, written)
    assert not track(file, written)
    assert patterns(file) == [PATHS[given]]
    if (root / written).is_file():
        assert filtered(git_repository, [os.path.relpath(os.path.realpath(root / written), root)]) != []
    assert untrack(file, written)
    assert not file.exists()


def test_a_path_that_stands_in_the_file_as_it_is_is_taken_out(file):
    file.write_bytes(b"./a.bin " + OURS + b"\n")
    assert untrack(file, "./a.bin")
    assert not file.exists()


def test_a_path_elsewhere_is_refused(file, tmp_path):
    with pytest.raises(UsageError) as caught:
        track(file, str(tmp_path))
    assert caught.value.kind == "path-outside-worktree"


def test_a_symbolic_link_is_refused(file, tmp_path):
    (tmp_path / "outside").write_text("# mine\n")
    file.symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError) as caught:
        track(file, "*.pt")
    assert caught.value.kind == "path-unsafe"
    assert (tmp_path / "outside").read_text() == "# mine\n"


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_any_name_can_be_tracked_and_untracked(name, file, git_repository):
    assume(name not in (".", ".."))
    pattern = "".join("\\" + character if character in "*?[\\!" else character for character in name)
    file.unlink(missing_ok=True)
    assert track(file, pattern)
    assert not track(file, pattern)
    assert patterns(file) == [pattern]
    assert filtered(git_repository, [name, f"{name}x", "other"]) == [name]
    assert untrack(file, pattern)
    assert not file.exists()
