"""What Git keeps alive, so that garbage collection may not touch it."""

from __future__ import annotations

import itertools
import os

import pytest

from lamella.core.errors import LamellaError, UsageError
from lamella.repo.git import Git
from lamella.repo.objects import write_blob
from lamella.repo.reachability import reachable_blobs, reachable_with_prefix
from tests.repo.committing import commit
from tests.repo.test_objects import damage, loose

PREFIX = b"lamella manifest "
NUMBERS = itertools.count()


def kept(git):
    """The content of every reachable manifest."""
    return {found.data for found, _ in reachable_with_prefix(git, PREFIX, limit_nbytes=1000)}


def manifest():
    """A content that no test uses twice."""
    return PREFIX + b"%d" % next(NUMBERS)


def dangling(git, content):
    """A commit with `content` that nothing refers to."""
    blob = write_blob(git, content)
    tree = git.run("mktree", input=f"100644 blob {blob}\tm\n".encode()).decode().strip()
    return git.run("commit-tree", tree, "-m", "dangling").decode().strip()


@pytest.fixture
def history(git_repository):
    """A repository with a commit whose manifest every test finds."""
    commit(git_repository, {"base": PREFIX + b"base"})
    return git_repository


def expect(git, *contents):
    assert kept(git) == {PREFIX + b"base", *contents}


def test_an_empty_repository_reaches_nothing(git_repository):
    assert list(reachable_blobs(git_repository)) == []
    assert kept(git_repository) == set()


def test_every_version_on_every_branch_counts_and_other_files_do_not(history):
    first, second = manifest(), manifest()
    commit(history, {"m": first, "text": b"lamella manifes", "empty": b""})
    history.run("switch", "--quiet", "--create", "side")
    commit(history, {"m": second, "big": bytes(2000)})
    history.run("rm", "--quiet", "m")
    history.run("commit", "--quiet", "--message", "gone")
    history.run("switch", "--quiet", "main")
    expect(history, first, second)


def test_blobs_come_once_with_a_path(history):
    commit(history, {"a folder/a file": b"1", "same": PREFIX + b"base", "a\nb": b"2"})
    found = list(reachable_blobs(history))
    assert len(found) == len({oid for oid, _ in found}) == 3
    assert {path for _, path in found} == {"base", "a folder/a file", "a"}


def test_content_beyond_the_limit_is_named_and_not_held(history):
    commit(history, {"long": PREFIX + bytes(2000)})
    found = {path: found for found, path in reachable_with_prefix(history, PREFIX, limit_nbytes=1000)}
    assert found["long"].data is None
    assert found["long"].nbytes == 2000 + len(PREFIX)
    assert found["base"].data == PREFIX + b"base"


def test_what_nothing_refers_to_is_not_found(history):
    dangling(history, manifest())
    write_blob(history, manifest())
    expect(history)


def test_the_index_counts(history):
    staged = manifest()
    (history.root / "m").write_bytes(staged)
    history.run("add", "m")
    (history.root / "m").unlink()
    expect(history, staged)


def test_a_conflict_in_the_index_counts(history):
    contents = [manifest() for _ in range(3)]
    rows = [f"100644 {write_blob(history, text)} {stage}\tm\n" for stage, text in enumerate(contents, 1)]
    history.run("update-index", "--index-info", input="".join(rows).encode())
    expect(history, *contents)


def test_reflogs_count_after_a_reset(history):
    lost = manifest()
    commit(history, {"m": lost})
    history.run("reset", "--quiet", "--hard", "HEAD~")
    (history.git_dir / "ORIG_HEAD").unlink()
    expect(history, lost)


def test_the_stash_counts_with_its_index_and_its_untracked_files(history):
    staged, changed, untracked = manifest(), manifest(), manifest()
    (history.root / "base").write_bytes(staged)
    history.run("add", "base")
    (history.root / "base").write_bytes(changed)
    (history.root / "u").write_bytes(untracked)
    history.run("stash", "push", "--quiet", "--include-untracked")
    expect(history, staged, changed, untracked)


@pytest.mark.parametrize(
    "ref", ["refs/tags/t", "refs/notes/n", "refs/remotes/origin/x", "refs/odd/x", "refs/bisect/bad"]
)
def test_every_ref_counts(ref, history):
    text = manifest()
    history.run("update-ref", ref, dangling(history, text))
    expect(history, text)


def test_a_tag_of_a_blob_and_notes_count(history):
    tagged, noted = manifest(), manifest()
    history.run("tag", "--annotate", "--message", "x", "t", write_blob(history, tagged))
    history.run("notes", "add", "-C", write_blob(history, noted), "HEAD")
    expect(history, tagged, noted)


PSEUDO_REFS = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "AUTO_MERGE", "BISECT_HEAD")
FILES = (
    *("FETCH_HEAD", "MERGE_AUTOSTASH", "BISECT_START", "rebase-merge/orig-head", "rebase-merge/onto"),
    *("rebase-merge/autostash", "rebase-merge/stopped-sha", "rebase-apply/orig-head", "rebase-apply/autostash"),
    *("sequencer/head", "sequencer/abort-safety"),
)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", [*PSEUDO_REFS, *FILES])
def test_what_is_in_progress_counts_in_every_worktree(name, linked, history, tmp_path):
    text = manifest()
    git_dir = history.git_dir
    if linked:
        history.run("worktree", "add", "--quiet", "--", str(tmp_path / "linked"))
        git_dir = Git.discover(tmp_path / "linked").git_dir
    (git_dir / name).parent.mkdir(exist_ok=True)
    (git_dir / name).write_text(dangling(history, text) + "\n")
    expect(history, text)


@pytest.mark.parametrize("name", ["MERGE_HEAD", "FETCH_HEAD"])
def test_every_line_of_an_octopus_counts(name, history):
    texts = [manifest() for _ in range(3)]
    rest = "" if name == "MERGE_HEAD" else "\tnot-for-merge\tbranch 'x' of ../deadbeef"
    (history.git_dir / name).write_text("".join(dangling(history, text) + rest + "\n" for text in texts))
    expect(history, *texts)


@pytest.mark.parametrize("name", ["rebase-merge/git-rebase-todo", "rebase-merge/done", "sequencer/todo"])
def test_commits_that_wait_to_be_picked_count_by_their_short_names(name, history):
    texts = [manifest() for _ in range(40)]
    picks = [f"pick {dangling(history, text)[:12]} added a face\n" for text in texts]
    (history.git_dir / name).parent.mkdir()
    (history.git_dir / name).write_text("".join(picks) + "exec make\n# dead beef\n")
    expect(history, *texts)


def test_stale_and_ambiguous_names_of_what_is_in_progress_are_no_fault(history):
    for number in range(70_000 // 256):
        write_blob(history, b"%d" % number)
    (history.git_dir / "FETCH_HEAD").write_text("f" * 40 + "\t\tbranch\n0000 1111 2222 3333 aaaa bbbb cccc dddd\n")
    expect(history)


def test_a_real_rebase_in_conflict_counts(history):
    texts = [manifest() for _ in range(4)]
    history.run("switch", "--quiet", "--create", "side")
    commit(history, {"base": texts[0]})
    commit(history, {"m": texts[1]})
    history.run("switch", "--quiet", "main")
    commit(history, {"base": texts[2]})
    history.run("switch", "--quiet", "side")
    (history.root / "base").write_bytes(texts[3])
    history.run("rebase", "--autostash", "main", check=False)
    assert (history.git_dir / "rebase-merge" / "autostash").exists()
    history.run("branch", "--force", "side", "main", check=False)
    for log in (history.git_dir / "logs").rglob("*"):
        if log.is_file():
            log.unlink()
    assert kept(history) >= {*texts, PREFIX + b"base"}


def test_head_and_index_and_bisect_of_every_worktree_count(history, tmp_path):
    texts = [manifest() for _ in range(3)]
    history.run("worktree", "add", "--quiet", "--detach", "--", str(tmp_path / "linked"))
    linked = Git.discover(tmp_path / "linked")
    linked.run("checkout", "--quiet", "--detach", dangling(history, texts[0]))
    linked.run("update-index", "--add", "--cacheinfo", f"100644,{write_blob(history, texts[1])},x")
    linked.run("update-ref", "refs/bisect/bad", dangling(history, texts[2]))
    (linked.git_dir / "logs" / "HEAD").unlink()
    expect(history, *texts)
    expect(linked, *texts)


@pytest.mark.parametrize("ref", ["refs/worktree/kept", "refs/bisect/bad", "refs/rewritten/onto"])
def test_the_own_refs_of_the_main_worktree_count_in_a_linked_one(ref, history, tmp_path):
    text = manifest()
    history.run("worktree", "add", "--quiet", "--detach", "--", str(tmp_path / "linked"))
    history.run("update-ref", ref, dangling(history, text))
    expect(Git.discover(tmp_path / "linked"), text)


@pytest.mark.parametrize("linked", [False, True])
def test_the_index_counts_beside_the_one_that_the_environment_names(linked, history, tmp_path):
    usual, named = manifest(), manifest()
    git = history
    if linked:
        history.run("worktree", "add", "--quiet", "--detach", "--", str(tmp_path / "linked"))
        git = Git.discover(tmp_path / "linked")
    elsewhere = {**os.environ, "GIT_INDEX_FILE": str(tmp_path / "elsewhere")}
    for text, one in ((usual, git), (named, Git.discover(git.root, elsewhere))):
        one.run("update-index", "--add", "--cacheinfo", f"100644,{write_blob(history, text)},m")
    expect(Git.discover(git.root, elsewhere), usual, named)
    (git.git_dir / "index").unlink()
    expect(Git.discover(git.root, elsewhere), named)


def test_a_worktree_whose_folder_is_gone_still_counts(history, tmp_path):
    text = manifest()
    history.run("worktree", "add", "--quiet", "--detach", "--", str(tmp_path / "linked"))
    linked = Git.discover(tmp_path / "linked")
    commit(linked, {"m": text})
    (tmp_path / "linked").rename(tmp_path / "moved")
    expect(history, text)


def test_a_bare_repository_counts_its_branches(history, make_repository):
    text = manifest()
    commit(history, {"m": text})
    bare = make_repository("bare", "--bare")
    bare.run("fetch", "--quiet", str(history.root), "main:main")
    expect(bare, text)


def test_what_a_replacement_hides_counts_beside_it(history):
    hidden, shown = manifest(), manifest()
    old = commit(history, {"m": hidden})
    commit(history, {"m": b"later"})
    history.run("replace", old, dangling(history, shown))
    blob = write_blob(history, PREFIX + b"base")
    substitute = manifest()
    history.run("replace", blob, write_blob(history, substitute))
    expect(history, hidden, shown, substitute)


def test_grafts_are_refused_with_the_way_out(history):
    commit(history, {"m": manifest()})
    grafts = history.common_dir / "info" / "grafts"
    grafts.parent.mkdir(exist_ok=True)
    grafts.write_text(history.resolve("HEAD") + "\n")
    with pytest.raises(UsageError) as caught:
        kept(history)
    assert "--convert-graft-file" in caught.value.hint
    history.run("replace", "--convert-graft-file")
    assert PREFIX + b"base" in kept(history)


def test_a_shallow_history_ends_where_it_was_cut(history, make_repository):
    text = manifest()
    commit(history, {"m": text})
    history.run("rm", "--quiet", "base")
    history.run("commit", "--quiet", "--message", "gone")
    shallow = make_repository("shallow")
    shallow.run("fetch", "--quiet", "--depth=1", f"file://{history.root}", "main:refs/heads/x")
    assert kept(shallow) == {text}


@pytest.mark.parametrize("only", ["blob:none", "tree:0"])
def test_a_partial_clone_fetches_nothing(only, history, tmp_path):
    history.run("config", "uploadpack.allowFilter", "true")
    history.run("config", "uploadpack.allowAnySHA1InWant", "true")
    commit(history, {"base": manifest(), "d/e": b"1"})
    args = (
        "clone",
        "--quiet",
        f"--filter={only}",
        "--no-checkout",
        f"file://{history.root}",
        str(tmp_path / "partial"),
    )
    history.run(*args)
    partial = Git.discover(tmp_path / "partial")
    packs = sorted((partial.common_dir / "objects").rglob("*"))
    assert kept(partial) == set()
    assert sorted((partial.common_dir / "objects").rglob("*")) == packs
    partial.run("checkout", "--quiet", "main")
    assert len(kept(partial)) == 1


@pytest.mark.parametrize("spec", ["HEAD", "HEAD~", "HEAD^{tree}", "HEAD~:base", ":staged", "HEAD:d"])
@pytest.mark.parametrize("how", [None, b"", b"garbage", 10])
def test_a_missing_or_damaged_object_is_an_error(spec, how, history):
    commit(history, {"base": manifest() * 40, "d/e": manifest()})
    commit(history, {"base": manifest() * 40})
    (history.root / "staged").write_bytes(manifest() * 40)
    history.run("add", "staged")
    file = loose(history, history.resolve(spec))
    if how is None:
        file.unlink()
    else:
        damage(file, file.read_bytes()[:how] if isinstance(how, int) else how)
    with pytest.raises(LamellaError) as caught:
        kept(history)
    assert caught.value.kind == "git-failed"


@pytest.mark.parametrize("content", ["f" * 40, "garbage", ""])
def test_a_broken_ref_is_an_error(content, history):
    (history.common_dir / "refs" / "heads" / "broken").write_text(content + "\n")
    with pytest.raises(LamellaError):
        kept(history)


def test_a_damaged_index_of_another_worktree_is_an_error(history, tmp_path):
    history.run("worktree", "add", "--quiet", "--detach", "--", str(tmp_path / "linked"))
    Git.discover(tmp_path / "linked").index_path.write_bytes(b"DIRC" + bytes(100))
    with pytest.raises(LamellaError):
        kept(history)


def test_a_pruned_reflog_entry_is_no_fault(history):
    lost = commit(history, {"m": manifest()})
    history.run("reset", "--quiet", "--hard", "HEAD~")
    loose(history, lost).unlink()
    expect(history)


def test_leaving_early_leaves_no_process(history):
    commit(history, {f"{number}": b"%d" % number for number in range(500)})
    found = reachable_blobs(history)
    next(found)
    found.close()
    with pytest.raises(StopIteration):
        next(found)


def test_a_sha256_repository_is_walked(make_repository):
    git = make_repository("wide", "--object-format=sha256")
    text = manifest()
    commit(git, {"m": text})
    (git.git_dir / "MERGE_HEAD").write_text(dangling(git, PREFIX + b"side") + "\n")
    assert kept(git) == {text, PREFIX + b"side"}
