"""A history of Git LFS becomes one of Lamella: the same in all but where the models are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.ops.fsck import fsck
from lamella.ops.migrate import MigrateReport, migrate
from lamella.repo import commit_neighbours
from lamella.repo.checkout import file_pieces
from lamella.repo.git import Git
from lamella.repo.model_files import model_at
from lamella.testing.models import network
from tests.e2e.lfsbench import ATTRIBUTES, keep, lfs_bench, lfs_object, pointer
from tests.e2e.workbench import Workbench

OURS = ATTRIBUTES.replace("lfs", "lamella")
MODEL = "model.safetensors"
FIRST, SECOND, THIRD = network(), network(layer_1_weight=1), network(layer_2_bias=2)


@pytest.fixture
def bench(git_repository: Git) -> Workbench:
    return lfs_bench(git_repository.root)


def run(bench: Workbench, *patterns: str, **options: object) -> MigrateReport:
    with bench.repository() as repository:
        return migrate(repository, patterns, **options)


def restored(bench: Workbench, revision: str, path: str = MODEL) -> bytes:
    with bench.repository() as repository:
        return b"".join(map(bytes, file_pieces(repository.store, repository.manifest(revision, path))))


def assert_at_rest(bench: Workbench) -> None:
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("fsck", "--strict", "--no-dangling") == ""
    with bench.repository() as repository:
        assert fsck(repository).sound


def shape(bench: Workbench, tip: str) -> str:
    """Return all that a rewriting keeps of a history: the graph is told by the subjects of the parents."""
    text = bench.git("log", "--topo-order", "--format=%an|%ae|%ad|%cn|%ce|%cd|%B|%p", "--date=raw", tip)
    for commit in bench.git("log", "--format=%h %s", tip).splitlines():
        text = text.replace(*commit.split(" ", 1))
    return text


def test_pointers_become_manifests_in_every_commit_and_all_else_stays(bench):
    keep(bench, {MODEL: FIRST, "notes.txt": b"one"}, "first")
    keep(bench, {MODEL: SECOND}, "second")
    before = shape(bench, "main")
    report = run(bench)
    assert (report.commits, report.rewritten, report.files, report.absent) == (3, 3, 2, ())
    assert report.refs == ("refs/heads/main",)
    assert (restored(bench, "HEAD~1"), restored(bench, "HEAD")) == (FIRST, SECOND)
    assert bench.git("show", "HEAD~2:.gitattributes") + "\n" == OURS == bench.read(".gitattributes").decode()
    assert bench.git("show", "HEAD:notes.txt") == "one"
    assert shape(bench, "main") == before
    assert bench.read(MODEL) == SECOND
    assert_at_rest(bench)


GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
INDEX, DATA = "ckpt.index", "ckpt.data-00000-of-00001"
CHECKPOINT = {f"run/{name}": (GOLDEN / "tf_checkpoint" / "object" / name).read_bytes() for name in (INDEX, DATA)}
SHARED = {
    f"dcp/{name}": (GOLDEN / "torch_distributed" / "shared" / name).read_bytes()
    for name in (".metadata", "__0_0.distcp", "__1_0.distcp")
}
LFS_FOR = "{} filter=lfs diff=lfs merge=lfs -text\n"


def formats(bench: Workbench, *paths: str) -> list[str]:
    with bench.repository() as repository:
        return [repository.manifest("HEAD", path).format for path in paths]


def test_files_that_a_neighbour_describes_are_stored_by_tensors(bench):
    # The index is kept by Git LFS too, and the metadata is in Git itself.
    bench.write(".gitattributes", b"".join(LFS_FOR.format(one).encode() for one in ("run/*", "*.distcp")))
    keep(bench, {**CHECKPOINT, **SHARED})
    assert bench.blob(f"HEAD:run/{INDEX}") == pointer(CHECKPOINT[f"run/{INDEX}"])
    report = run(bench)
    assert (report.absent, report.files) == ((), 4)
    assert formats(bench, f"run/{DATA}", "dcp/__0_0.distcp", "dcp/__1_0.distcp") == [
        "tf-checkpoint", "torch-distributed", "torch-distributed"
    ]  # fmt: skip
    with bench.repository() as repository:
        assert len(repository.manifest("HEAD", f"run/{DATA}").tensors) > 3
        assert model_at(repository, "HEAD", "dcp").spec("rows").shape == (8, 5)
    for path, content in {**CHECKPOINT, **SHARED}.items():
        assert bench.read(path) == content
        if not path.endswith(".metadata"):
            assert restored(bench, "HEAD", path) == content
    assert_at_rest(bench)


@pytest.mark.parametrize("fault", ["missing", "damaged", "long", "elsewhere", "a link"])
def test_a_neighbour_that_cannot_be_had_describes_nothing(bench, fault, monkeypatch):
    bench.write(".gitattributes", LFS_FOR.format("run/*").encode())
    files = dict(CHECKPOINT)
    index = files.pop(f"run/{INDEX}")
    if fault == "elsewhere":
        files[f"other/{INDEX}"] = index
    elif fault == "a link":
        files["other/real"] = index
        (bench.root / "run").mkdir()
        (bench.root / "run" / INDEX).symlink_to("../other/real")
    else:
        files[f"run/{INDEX}"] = index
    keep(bench, files)
    if fault == "missing":
        lfs_object(bench, index).unlink()
    elif fault == "damaged":
        lfs_object(bench, index).write_bytes(index[:-1] + b"?")
    elif fault == "long":
        monkeypatch.setattr(commit_neighbours, "MAX_NEIGHBOUR_NBYTES", len(index) - 1)
    report = run(bench)
    assert len(report.absent) == (fault in ("missing", "damaged"))
    assert formats(bench, f"run/{DATA}") == ["opaque"]
    assert restored(bench, "HEAD", f"run/{DATA}") == CHECKPOINT[f"run/{DATA}"]


def test_whole_files_that_are_taken_over_find_their_neighbours(bench):
    keep(bench, {path.replace("run/", "a/b/"): content for path, content in CHECKPOINT.items()})
    run(bench, "*.data-*")
    assert formats(bench, f"a/b/{DATA}") == ["tf-checkpoint"]
    assert bench.blob(f"HEAD:a/b/{INDEX}") == CHECKPOINT[f"run/{INDEX}"]


def test_no_filter_runs_for_files_that_were_there(bench):
    keep(bench, {MODEL: FIRST})
    stat = (bench.root / MODEL).stat()
    run(bench)
    assert bench.filters_run("status") == 0
    now = (bench.root / MODEL).stat()
    assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)


def test_a_second_run_finds_nothing(bench):
    keep(bench, {MODEL: FIRST})
    run(bench)
    tip = bench.git("rev-parse", "HEAD")
    assert run(bench).rewritten == 0
    assert bench.git("rev-parse", "HEAD") == tip


def test_a_dry_run_tells_all_and_does_nothing(bench):
    keep(bench, {MODEL: FIRST}, "first")
    keep(bench, {MODEL: SECOND}, "second")
    lfs_object(bench, SECOND).unlink()
    everything = bench.git("count-objects", "-v"), bench.git("for-each-ref")
    report = run(bench, dry_run=True)
    assert (report.dry_run, report.rewritten, report.files, report.nbytes) == (True, 3, 1, len(FIRST))
    assert [(absent.path, absent.kind) for absent in report.absent] == [(MODEL, "object-missing")]
    assert (bench.git("count-objects", "-v"), bench.git("for-each-ref")) == everything
    assert not list((bench.root / ".git/lamella/packs").iterdir())


def test_a_missing_or_damaged_object_keeps_its_pointer_and_its_filter(bench):
    keep(bench, {MODEL: FIRST, "d/gone.safetensors": SECOND, "d/bad.safetensors": THIRD})
    lfs_object(bench, SECOND).unlink()
    place = lfs_object(bench, THIRD)
    place.write_bytes(place.read_bytes()[:-1] + b"?")
    report = run(bench)
    assert {(absent.path, absent.kind) for absent in report.absent} == {
        ("d/gone.safetensors", "object-missing"), ("d/bad.safetensors", "object-wrong-id")
    }  # fmt: skip
    assert bench.blob("HEAD:d/gone.safetensors") == pointer(SECOND)
    assert bench.blob("HEAD:d/bad.safetensors") == pointer(THIRD)
    lines = bench.git("check-attr", "filter", MODEL, "d/gone.safetensors", "d/bad.safetensors", "d/new.safetensors")
    assert [line.split()[-1] for line in lines.splitlines()] == ["lamella", "lfs", "lfs", "lamella"]
    assert restored(bench, "HEAD") == FIRST
    assert_at_rest(bench)


def test_merges_tags_of_tags_and_both_sides_are_kept(bench):
    keep(bench, {MODEL: FIRST}, "first")
    for name, version in (("one", 1), ("two", 2), ("three", 3)):
        bench.git("checkout", "--quiet", "-b", name, "main")
        keep(bench, {f"{name}.safetensors": network(layer_0_bias=version)}, name)
    bench.git("checkout", "--quiet", "main")
    bench.git("merge", "--quiet", "--message", "octopus", "one", "two", "three")
    bench.git("tag", "--annotate", "--message", "inner\n\nmore", "inner")
    bench.git("tag", "--annotate", "--message", "outer", "outer", "inner")
    bench.git("tag", "light")
    before = [shape(bench, name) for name in ("main", "one", "outer")]
    report = run(bench)
    assert set(report.refs) == {
        *(f"refs/heads/{name}" for name in ("main", "one", "two", "three")),
        *(f"refs/tags/{name}" for name in ("inner", "outer", "light")),
    }
    assert [shape(bench, name) for name in ("main", "one", "outer")] == before
    assert len({bench.git("rev-parse", f"{name}^{{commit}}") for name in ("main", "inner", "outer", "light")}) == 1
    assert bench.git("cat-file", "-t", bench.git("rev-parse", "outer")) == "tag"
    assert bench.git("rev-parse", "outer^{tag}") != bench.git("rev-parse", "inner^{tag}")
    assert bench.git("for-each-ref", "--format=%(contents)", "refs/tags/inner").startswith("inner\n\nmore")
    assert restored(bench, "outer", "three.safetensors") == network(layer_0_bias=3)
    assert_at_rest(bench)


def test_bytes_that_are_no_text_and_headers_that_nobody_knows_are_kept(bench):
    keep(bench, {MODEL: FIRST, "caf\udce9.safetensors": SECOND})
    tree, parent = bench.git("rev-parse", "HEAD^{tree}", "HEAD").split()
    who = b"J\xf6rg <j@example.org> 1234567890 +0530"
    odd = b"author %s\ncommitter %s\nencoding ISO-8859-1\nx-odd one\n two\n\n" % (who, who) + b"gr\xfc\xdfe\n\n no end"
    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n"
    head, gap, message = odd.partition(b"\nencoding")
    raw = b"tree %s\nparent %s\n" % (tree.encode(), parent.encode()) + head + b"\n" + signature + gap[1:] + message
    commit = Git.discover(bench.root).run("hash-object", "-t", "commit", "-w", "--stdin", input=raw).decode().strip()
    bench.git("update-ref", "refs/heads/main", commit)
    report = run(bench)
    assert report.unsigned_commits == 1
    made = Git.discover(bench.root).run("cat-file", "commit", "main")
    assert made.split(b"\n", 2)[2] == odd
    assert restored(bench, "main", "caf\udce9.safetensors") == SECOND
    assert_at_rest(bench)


def test_a_signature_of_a_tag_goes_and_is_told(bench):
    keep(bench, {MODEL: FIRST})
    text = (
        b"object %s\ntype commit\ntag signed\ntagger A <a@b> 1 +0000\n\nwhy\n" % bench.git("rev-parse", "HEAD").encode()
    )
    signed = text + b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
    git = Git.discover(bench.root)
    oid = git.run("hash-object", "-t", "tag", "-w", "--stdin", input=signed).decode().strip()
    bench.git("update-ref", "refs/tags/signed", oid)
    report = run(bench)
    assert report.unsigned_tags == ("refs/tags/signed",)
    assert git.run("cat-file", "tag", "signed").split(b"\n", 1)[1] == text.split(b"\n", 1)[1]


def test_modes_links_submodules_renames_deletions_and_empty_commits_pass(bench, tmp_path):
    keep(bench, {MODEL: FIRST, "run.sh": b"#!/bin/sh\n", "tool.safetensors": SECOND}, "first")
    (bench.root / "tool.safetensors").chmod(0o755)
    (bench.root / "link").symlink_to(MODEL)
    (bench.root / "sub").mkdir()
    bench.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    bench.git("add", "link", "tool.safetensors")
    bench.git("commit", "--quiet", "--message", "modes")
    bench.git("mv", MODEL, "other.safetensors")
    bench.git("commit", "--quiet", "--message", "rename")
    bench.git("rm", "--quiet", "tool.safetensors")
    bench.git("commit", "--quiet", "--message", "deletion")
    bench.git("commit", "--quiet", "--allow-empty", "--message", "empty")
    wanted = [bench.git("ls-tree", "-r", "--format=%(objectmode) %(path)", f"HEAD~{n}") for n in range(6)]
    report = run(bench)
    assert [bench.git("ls-tree", "-r", "--format=%(objectmode) %(path)", f"HEAD~{n}") for n in range(6)] == wanted
    assert bench.git("diff", "--stat", "HEAD~1", "HEAD") == ""
    assert report.files == 3
    assert restored(bench, "HEAD", "other.safetensors") == FIRST
    assert_at_rest(bench)


def test_a_file_may_be_pointer_and_plain_in_turns(bench):
    keep(bench, {MODEL: FIRST}, "pointer")
    bench.git("rm", "--quiet", "--cached", ".gitattributes", MODEL)
    (bench.root / ".gitattributes").unlink()
    keep(bench, {MODEL: SECOND}, "plain")
    keep(bench, {".gitattributes": ATTRIBUTES.encode(), MODEL: THIRD}, "pointer again")
    assert run(bench).files == 2
    assert bench.blob(f"HEAD~1:{MODEL}") == SECOND
    assert (restored(bench, "HEAD~2"), restored(bench, "HEAD")) == (FIRST, THIRD)
    assert_at_rest(bench)


def test_patterns_take_whole_files_too_and_leave_other_pointers(bench):
    bench.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    keep(bench, {MODEL: FIRST, "data.bin": SECOND, "sub/deep.safetensors": THIRD}, "first")
    report = run(bench, "*.safetensors")
    assert report.files == 2
    assert bench.blob("HEAD:data.bin") == pointer(SECOND)
    assert restored(bench, "HEAD", "sub/deep.safetensors") == THIRD
    assert bench.read(".gitattributes") == b"*.bin filter=lfs diff=lfs merge=lfs -text\n" + OURS.encode()
    assert bench.git("show", "HEAD~1:.gitattributes") + "\n" == OURS
    assert_at_rest(bench)


def test_later_versions_lean_on_those_of_the_parent(bench):
    from lamella.testing.models import model, spec

    versions = [model([spec("large", 100_000), spec("b", 9)], {"b": number}) for number in range(6)]
    for version in versions:
        keep(bench, {MODEL: version})
    report = run(bench)
    assert report.nbytes == 6 * len(versions[0])
    assert report.stored_nbytes < 1.5 * len(versions[0])


def test_only_the_chosen_references_move(bench):
    keep(bench, {MODEL: FIRST})
    bench.git("branch", "stays")
    old = bench.git("rev-parse", "stays")
    report = run(bench, refs=["main"])
    assert report.refs == ("refs/heads/main",)
    assert bench.git("rev-parse", "stays") == old == bench.git("rev-parse", f"{report.kept_under}/heads/main")
    with pytest.raises(NotFoundError):
        run(bench, refs=["nothing"])


def test_a_detached_head_moves_too(bench):
    keep(bench, {MODEL: FIRST})
    bench.git("checkout", "--quiet", "--detach")
    assert set(run(bench).refs) == {"refs/heads/main", "HEAD"}
    assert bench.git("rev-parse", "HEAD") == bench.git("rev-parse", "main")
    assert_at_rest(bench)


def test_files_that_git_lfs_had_not_fetched_into_the_worktree_are_written(bench):
    keep(bench, {MODEL: FIRST})
    bench.git("config", "filter.lfs.smudge", "cat")
    (bench.root / MODEL).unlink()
    bench.git("checkout", "--quiet", "--", MODEL)
    bench.git("config", "filter.lfs.clean", "cat")
    assert bench.read(MODEL) == pointer(FIRST)
    assert MODEL in run(bench).written
    assert bench.read(MODEL) == FIRST
    assert_at_rest(bench)


def test_going_back_gives_the_old_repository(bench):
    tip = keep(bench, {MODEL: FIRST})
    report = run(bench)
    bench.git("reset", "--quiet", "--hard", f"{report.kept_under}/heads/main")
    assert bench.git("rev-parse", "HEAD") == tip
    assert bench.read(MODEL) == FIRST
    assert bench.git("status", "--porcelain") == ""
    again = run(bench)
    assert again.kept_under == "refs/lamella/before-migrate/2"
    assert_at_rest(bench)


def test_tags_of_trees_and_blobs_stay_and_every_reference_can_be_asked_for(bench):
    keep(bench, {MODEL: FIRST})
    tip = bench.git("rev-parse", "HEAD")
    bench.git("tag", "tree", "HEAD^{tree}")
    bench.git("tag", "--annotate", "--message", "a blob", "blob", "HEAD:.gitattributes")
    bench.git("update-ref", "refs/remotes/origin/main", tip)
    bench.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    bench.git("update-ref", "refs/notes/commits", tip)
    assert set(run(bench, everything=True, dry_run=True).refs) == {"refs/heads/main", "refs/remotes/origin/main"}
    assert run(bench).refs == ("refs/heads/main",)
    assert bench.git("rev-parse", "refs/remotes/origin/main") == tip
    assert_at_rest(bench)


def test_a_repository_with_sha256_is_rewritten(make_repository):
    bench = lfs_bench(make_repository("new", "--object-format=sha256").root)
    keep(bench, {MODEL: FIRST, "d/e.safetensors": SECOND})
    run(bench)
    assert restored(bench, "HEAD", "d/e.safetensors") == SECOND
    assert_at_rest(bench)


def test_a_bare_repository_is_rewritten(bench, tmp_path):
    keep(bench, {MODEL: FIRST})
    bench.git("clone", "--quiet", "--bare", str(bench.root), str(tmp_path / "bare"))
    (tmp_path / "bare/lfs").symlink_to(bench.root / ".git/lfs")
    bare = Workbench(tmp_path / "bare")
    bare.git("config", "filter.lamella.process", "true")
    assert run(bare).rewritten == 2
    assert restored(bare, "main") == FIRST


def test_a_repository_that_is_not_at_rest_is_refused(bench, tmp_path):
    keep(bench, {MODEL: FIRST})
    bench.write(MODEL, SECOND)
    with pytest.raises(UsageError, match="not committed"):
        run(bench)
    bench.git("checkout", "--quiet", "--force", "HEAD")
    (bench.root / ".git/MERGE_HEAD").write_text(bench.git("rev-parse", "HEAD"))
    with pytest.raises(UsageError, match="merge is under way"):
        run(bench)
    (bench.root / ".git/MERGE_HEAD").unlink()
    bench.git("worktree", "add", "--quiet", str(tmp_path / "further"), "-b", "further")
    with pytest.raises(UsageError, match="further worktrees"):
        run(bench)
    bench.git("clone", "--quiet", "--depth=1", f"file://{bench.root}", str(tmp_path / "shallow"))
    shallow = Workbench(tmp_path / "shallow")
    shallow.git("config", "filter.lamella.process", "true")
    with pytest.raises(UsageError, match="shallow"):
        run(shallow)
    shallow.git("config", "--unset", "filter.lamella.process")
    with pytest.raises(UsageError, match="does not know"):
        run(shallow)


@pytest.mark.parametrize("pattern", ["", "/", "!a", "../a", "[attr]x", "a\0b"])
def test_a_pattern_that_names_nothing_is_refused(bench, pattern):
    with pytest.raises(UsageError, match="names no files"):
        run(bench, pattern)


def test_a_branch_that_moves_meanwhile_is_not_lost(bench, monkeypatch):
    keep(bench, {MODEL: FIRST})
    from lamella.ops import migrate as module

    real = module.move_refs

    def late(git: Git, *args: object) -> object:
        bench.git("commit", "--quiet", "--allow-empty", "--message", "late")
        return real(git, *args)

    monkeypatch.setattr(module, "move_refs", late)
    with pytest.raises(ConflictError, match="moved meanwhile"):
        run(bench)
    monkeypatch.undo()
    assert bench.git("log", "-1", "--format=%s") == "late"
    run(bench)
    assert bench.git("log", "-1", "--format=%s") == "late"
    assert restored(bench, "HEAD") == FIRST
    assert_at_rest(bench)
