"""What can be named to `lamella add`, from wherever the user stands."""

from __future__ import annotations

import os

import pytest

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.ops import add as add_op
from lamella.repo.repository import Repository
from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Workbench, run

FIRST, SECOND = network(), network(layer_1_weight=1)


def staged(bench: Workbench) -> list[str]:
    """Return what is staged, with its letter."""
    return bench.git("-c", "core.quotePath=false", "diff", "--cached", "--name-status", "--no-renames").splitlines()


@pytest.fixture
def tree(bench: Workbench) -> Workbench:
    """Return a repository with four models and a text that are not tracked yet."""
    for path in ("a.safetensors", "b.safetensors", "dir/c.safetensors", "dir/deep/d.safetensors"):
        bench.write(path, FIRST)
    bench.write("dir/notes.txt", b"text\n")
    return bench


@pytest.mark.parametrize(
    ("named", "added"),
    [
        (["a.safetensors"], ["a.safetensors"]),
        (["dir"], ["dir/c.safetensors", "dir/deep/d.safetensors", "dir/notes.txt"]),
        (["dir/"], ["dir/c.safetensors", "dir/deep/d.safetensors", "dir/notes.txt"]),
        (["./dir/../b.safetensors"], ["b.safetensors"]),
        (["*.txt"], ["dir/notes.txt"]),
        (["?.safetensors"], ["a.safetensors", "b.safetensors"]),
        ([":(glob)*.safetensors"], ["a.safetensors", "b.safetensors"]),
        ([".", ":!dir/deep", ":(exclude)a.*"], ["b.safetensors", "dir/c.safetensors", "dir/notes.txt"]),
        (["a.safetensors", "a.safetensors", "dir/notes.txt"], ["a.safetensors", "dir/notes.txt"]),
    ],
    ids=str,
)
def test_files_folders_and_patterns_can_be_named(tree, named, added):
    tree.lamella("add", *named)
    assert staged(tree) == [f"A\t{path}" for path in added]


@pytest.mark.parametrize("most", [1, 1000])
@pytest.mark.parametrize("where", ["", "dir"])
def test_more_paths_than_a_command_takes_are_what_they_are_otherwise(tree, monkeypatch, most, where):
    monkeypatch.setattr(add_op, "_MOST_PATHS", most)
    tree.commit("gone.safetensors", SECOND)
    tree.write("gone/inside.txt", b"text")
    (tree.root / "gone.safetensors").unlink()
    tree.write("dir/odd[name].txt", b"text")
    named = ["../a.safetensors", "odd[name].txt", "deep", "../gone*"]
    named = named if where else [os.path.normpath(f"dir/{path}") for path in named]
    with Repository.open(tree.root / where) as repository:
        add_op.add(repository, named)
        with pytest.raises(NotFoundError, match="'nothing' names no file"):
            add_op.add(repository, [*named[:1], "nothing"])
    assert staged(tree) == [
        "A\ta.safetensors", "A\tdir/deep/d.safetensors", "A\tdir/odd[name].txt",
        "D\tgone.safetensors", "A\tgone/inside.txt",
    ]  # fmt: skip


def test_so_many_paths_can_be_named_that_no_command_takes_them(tree):
    names = [f"dir/{'./' * 110}notes.txt"] * 12_000
    with tree.repository() as repository:
        with pytest.raises(UsageError) as caught:
            repository.git.run("ls-files", *names)
        assert (caught.value.kind, caught.value.hint) == (
            "bad-argument", "name a folder or a pattern in place of its files",
        )  # fmt: skip
        assert add_op.add(repository, names).others == 1


def test_an_absolute_path_can_be_named(tree):
    tree.lamella("add", str(tree.root / "dir" / "notes.txt"), str(tree.root / "a.safetensors"))
    assert staged(tree) == ["A\ta.safetensors", "A\tdir/notes.txt"]


def test_paths_are_relative_to_where_the_user_stands(tree):
    inside = Workbench(tree.root / "dir")
    inside.lamella("add", "c.safetensors", "../b.safetensors")
    assert staged(tree) == ["A\tb.safetensors", "A\tdir/c.safetensors"]
    inside.lamella("add", ".")
    assert len(staged(tree)) == 4
    assert inside.lamella("ls-files", ".").split()[1] == "dir/c.safetensors"
    assert len(inside.lamella("ls-files").splitlines()) == 3
    tree.git("commit", "--quiet", "-m", "all")
    assert inside.lamella("show", "HEAD:./c.safetensors").startswith("HEAD:dir/c.safetensors")
    assert inside.lamella("show", "HEAD:dir/c.safetensors").startswith("HEAD:dir/c.safetensors")
    tree.write("dir/c.safetensors", SECOND)
    assert inside.lamella("diff", "--stat", "c.safetensors") == "dir/c.safetensors: 1 changed of 8 tensors"
    assert inside.lamella("diff", "--stat", "--", "deep") == ""
    assert inside.lamella("log", "--oneline", "--", "deep").count("\n") == 0
    inside.lamella("restore", "c.safetensors")
    assert tree.read("dir/c.safetensors") == FIRST


def test_another_directory_can_be_given_before_the_command(tree, elsewhere):
    ended = run(elsewhere, PROGRAM, "-C", str(tree.root / "dir"), "add", "c.safetensors")
    assert ended.code == 0
    assert staged(tree) == ["A\tdir/c.safetensors"]


def test_a_path_with_a_leading_dash_stands_behind_dashes(bench):
    bench.write("-a.safetensors", FIRST)
    bench.lamella("add", "--", "-a.safetensors")
    bench.git("commit", "--quiet", "-m", "dash")
    bench.write("-a.safetensors", SECOND)
    assert bench.lamella("diff", "--stat", "--", "-a.safetensors") == "-a.safetensors: 1 changed of 8 tensors"
    assert bench.lamella("log", "--oneline", "--", "-a.safetensors").endswith("[-a.safetensors: added, 8 tensors]")
    bench.lamella("checkout", "--", "-a.safetensors")
    assert bench.read("-a.safetensors") == FIRST


def test_a_file_that_is_called_like_a_branch_is_taken_for_a_file_behind_dashes(bench):
    bench.write("main", FIRST)
    bench.lamella("track", "main")
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "-m", "called main")
    bench.write("main", SECOND)
    bench.lamella("checkout", "--", "main")
    assert bench.read("main") == FIRST


def test_a_file_that_was_deleted_is_staged_as_deleted(tree):
    tree.lamella("add", ".")
    tree.git("commit", "--quiet", "-m", "all")
    (tree.root / "a.safetensors").unlink()
    (tree.root / "dir" / "notes.txt").unlink()
    assert tree.lamella("add", "a.safetensors", "dir") == "2 other paths added by git"
    assert staged(tree) == ["D\ta.safetensors", "D\tdir/notes.txt"]


def test_a_whole_folder_that_was_deleted_is_no_obstacle(tree):
    tree.lamella("add", ".")
    tree.git("commit", "--quiet", "-m", "all")
    for path in ("dir/deep/d.safetensors", "dir/c.safetensors", "dir/notes.txt"):
        (tree.root / path).unlink()
    (tree.root / "dir/deep").rmdir()
    (tree.root / "dir").rmdir()
    assert "dir/c.safetensors: removed, 8 tensors" in tree.lamella("status")
    assert "dir/c.safetensors: removed, 8 tensors" in tree.lamella("diff")
    assert "- dir/c.safetensors" in tree.lamella("ls-files").replace("  ", " ")
    assert tree.lamella("fsck").endswith("everything is sound")
    tree.lamella("restore", "dir")
    assert tree.read("dir/deep/d.safetensors") == FIRST


def test_adding_again_stores_nothing(tree):
    assert tree.lamella("add", "a.safetensors").startswith("a.safetensors: 8 tensors, 9 new objects")
    packs = sorted((tree.root / ".git/lamella/packs").iterdir())
    assert tree.lamella("add", "a.safetensors") == "nothing to add: everything named is staged already"
    tree.write("a.safetensors", FIRST)
    assert tree.lamella("add", "a.safetensors").startswith("a.safetensors: 8 tensors, 0 new objects, 0 B stored")
    assert sorted((tree.root / ".git/lamella/packs").iterdir()) == packs


def test_only_the_tensors_that_changed_are_stored(tree):
    tree.lamella("add", "a.safetensors")
    tree.write("a.safetensors", SECOND)
    assert tree.lamella("add", "a.safetensors").startswith("a.safetensors: 8 tensors, 1 new object,")


def test_what_is_new_is_told_however_quickly_it_comes(bench):
    """Git asks the filter about a file that changed in the second in which it was indexed."""
    for number in range(4):
        bench.write("a.safetensors", network(layer_1_bias=number))
        told = bench.lamella("add", "a.safetensors")
        assert "0 new objects" not in told
        bench.lamella("commit", "--quiet", "--message", f"{number}")


def test_the_same_weights_under_another_name_cost_nothing(tree):
    tree.lamella("add", "a.safetensors")
    assert tree.lamella("add", "b.safetensors").startswith("b.safetensors: 8 tensors, 0 new objects, 0 B stored")


def test_a_path_that_is_not_there_is_told(tree):
    ended = tree.try_lamella("add", "a.safetensors", "gone.safetensors")
    assert ended.code == 3
    assert ended.err == (
        "error: 'gone.safetensors' names no file that could be added\n"
        "hint: check the spelling; `git check-ignore -v PATH` says whether it is ignored\n"
    )
    assert staged(tree) == []


@pytest.mark.parametrize("named", ["ignored.safetensors", "ignored-dir", "ignored-dir/a.safetensors"])
def test_an_ignored_path_is_told(bench, named):
    bench.write(".gitignore", b"ignored*\n")
    bench.write("ignored.safetensors", FIRST)
    bench.write("ignored-dir/a.safetensors", FIRST)
    ended = bench.try_lamella("add", named)
    assert ended.code == 3
    assert "is ignored" in ended.err
    bench.lamella("add", ".")
    assert staged(bench) == ["A\t.gitignore"]


def test_an_ignored_file_that_is_tracked_is_added(bench):
    bench.commit("a.safetensors", FIRST)
    bench.write(".gitignore", b"*.safetensors\n")
    bench.write("a.safetensors", SECOND)
    bench.lamella("add", "a.safetensors")
    assert staged(bench) == ["M\ta.safetensors"]


def test_a_file_that_cannot_be_read_leaves_everything_unstaged(tree, monkeypatch):
    def refuse(*args: object) -> object:
        raise ConflictError("b.safetensors changed while it was read", kind="file-changed")

    monkeypatch.setattr(add_op, "check_in", refuse)
    with tree.repository() as repository, pytest.raises(ConflictError):
        add_op.add(repository, ["."])
    assert staged(tree) == []


def test_many_paths_take_few_processes(bench):
    paths = [f"shard-{number:03}.safetensors" for number in range(40)]
    for path in paths:
        bench.write(path, b"small")
    trace = bench.root.parent / "trace"
    bench.lamella("add", *paths, env={"GIT_TRACE": str(trace)})
    assert len(staged(bench)) == 40
    assert trace.read_text().count("built-in: git hash-object") <= 40
    assert trace.read_text().count("built-in: git ls-files") <= 4


def test_an_empty_folder_is_nothing_to_add(bench):
    (bench.root / "empty").mkdir()
    assert bench.lamella("add", "empty") == "nothing to add: everything named is staged already"


def test_a_symbolic_link_is_kept_as_a_link(bench, elsewhere):
    (elsewhere / "a.safetensors").write_bytes(FIRST)
    (bench.root / "link.safetensors").symlink_to(elsewhere / "a.safetensors")
    (bench.root / "dangling.safetensors").symlink_to("nowhere")
    bench.lamella("add", ".")
    assert {line.split()[0] for line in bench.git("ls-files", "--stage", "*.safetensors").splitlines()} == {"120000"}
    bench.git("commit", "--quiet", "-m", "links")
    assert bench.lamella("status") == "on branch main\nnothing changed"
    assert bench.lamella("ls-files") == ""


def test_nothing_is_added_through_a_linked_folder(bench, elsewhere):
    (elsewhere / "a.safetensors").write_bytes(FIRST)
    (bench.root / "linked").symlink_to(elsewhere)
    ended = bench.try_lamella("add", "linked/a.safetensors")
    assert ended.code in (2, 3)
    assert ended.err.startswith("error: ")
    assert staged(bench) == []


@pytest.mark.parametrize("named", ["../outside.safetensors", "/etc/hostname", ".git/config"])
def test_nothing_outside_the_worktree_is_added(bench, named):
    (bench.root.parent / "outside.safetensors").write_bytes(FIRST)
    ended = bench.try_lamella("add", named)
    assert ended.code in (2, 3)
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") <= 2
    assert staged(bench) == []


def test_a_link_that_takes_the_place_of_a_model_is_added_as_a_link(bench):
    bench.commit("a.safetensors", FIRST)
    (bench.root / "a.safetensors").unlink()
    (bench.root / "a.safetensors").symlink_to("elsewhere")
    bench.lamella("add", "a.safetensors")
    assert staged(bench) == ["T\ta.safetensors"]


def test_a_folder_and_a_model_may_change_places(bench):
    bench.commit("a", FIRST)
    bench.lamella("track", "*")
    (bench.root / "a").unlink()
    bench.write("a/b.safetensors", FIRST)
    bench.lamella("add", "a")
    assert sorted(staged(bench)) == ["A\ta/b.safetensors", "D\ta"]
    bench.git("commit", "--quiet", "-m", "a folder")
    (bench.root / "a/b.safetensors").unlink()
    (bench.root / "a").rmdir()
    bench.write("a", SECOND)
    bench.lamella("add", "a")
    assert sorted(staged(bench)) == ["A\ta", "D\ta/b.safetensors"]


def test_an_intent_to_add_is_fulfilled(bench):
    bench.write("a.safetensors", FIRST)
    bench.git("add", "--intent-to-add", "a.safetensors")
    assert "a.safetensors: added, 8 tensors" in bench.lamella("status")
    bench.lamella("add", "a.safetensors")
    assert staged(bench) == ["A\ta.safetensors"]


def test_a_file_that_is_not_filled_is_added_as_the_manifest_it_is(bench):
    bench.commit("a.safetensors", FIRST)
    text = bench.blob("HEAD:a.safetensors")
    bench.write("copy.safetensors", text)
    bench.lamella("add", "copy.safetensors")
    assert bench.blob(":copy.safetensors") == text
    bench.lamella("checkout")
    assert bench.read("copy.safetensors") == FIRST
