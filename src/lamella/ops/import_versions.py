"""Versions from outside become commits: one each, in order, on top of a branch."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import UsageError
from lamella.core.limits import MIB
from lamella.core.progress import SILENT, Progress
from lamella.formats.base import Beside
from lamella.formats.file import DescriptorFile
from lamella.formats.neighbours import FolderNeighbours
from lamella.repo import setup, takeover
from lamella.repo.checkin import check_in
from lamella.repo.checkout import split_path
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.history import Ref, list_refs, read_commit
from lamella.repo.manifest import Manifest, write_manifest
from lamella.repo.patterns import escaped
from lamella.repo.refmove import ensure_ready, move_refs, settle
from lamella.repo.repository import Repository
from lamella.repo.trees import FILE, changed_tree, find
from lamella.repo.worktree import open_file

_SUFFIXES = (
    *(".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".keras", ".onnx", ".gguf", ".ggml", ".npz"),
    *(".npy", ".msgpack", ".tflite", ".pb", ".pkl", ".joblib", ".params", ".index", ".distcp"),
)
_LARGE_NBYTES = MIB
"""A file of this length is one that Git should not keep, whatever it is called."""


@dataclass(frozen=True, slots=True)
class Version:
    """One commit to be: its message, when it was made, the files that it has, and small texts that come with it.

    `files` are by their path below the place in the repository; `texts` by their path from the root. `author` is a name
    where it was somebody else than who runs the import.
    """

    message: str
    seconds: int
    root: Path
    files: tuple[str, ...]
    texts: Mapping[str, bytes] = field(default_factory=dict)
    author: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was, or would be, imported: the new commits, oldest first, the files of all versions, and what they took."""

    dry_run: bool
    source: str
    path: str
    branch: str
    versions: tuple[str, ...]
    commits: tuple[str, ...]
    files: int
    nbytes: int
    stored_nbytes: int


def import_versions(
    repository: Repository,
    source: Path,
    versions: Sequence[Version],
    path: str,
    *,
    branch: str | None = None,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> ImportReport:
    """Commit each of `versions` at `path`, where it takes the place of the one before, on `branch` or the one that is.

    The branch moves once, at the end, and the worktree follows where it is checked out. Raises UsageError: git-refused
    where the repository is not at rest, something not in Git is in the way, or the branch cannot be; not-set-up.
    """
    directories, name = split_path(path)
    path = "/".join((*directories, name))
    git = repository.git
    if not setup.calls_us(git) and not dry_run:
        raise UsageError("git does not know lamella here", kind="not-set-up", hint="run `lamella init` first")
    if not dry_run:
        settle(repository, progress)
    ensure_ready(repository)
    ref = _branch(git, branch)
    _refuse_in_the_way(repository, path)
    files = sum(len(version.files) for version in versions)
    nbytes = sum((version.root / file).stat().st_size for version in versions for file in version.files)
    named = tuple(version.message for version in versions)
    shown = ref.name.removeprefix("refs/heads/")
    if dry_run:
        return ImportReport(True, str(source), path, shown, named, (), files, nbytes, 0)
    with ObjectWriter(git) as writer:
        progress.start("importing models", 0)
        maker = _Maker(repository, writer, path, progress)
        commits = maker.commits(ref, versions)
        writer.flush()
        progress.finish()
    move_refs(git, {ref: commits[-1]}, "lamella import", keeping=False)
    settle(repository, progress)
    git.run("gc", "--auto", "--quiet", check=False)
    return ImportReport(False, str(source), path, shown, named, tuple(commits), files, nbytes, maker.stored_nbytes)


def _branch(git: Git, branch: str | None) -> Ref:
    """Return the branch that grows; one that is not there begins at HEAD, or with nothing."""
    current = git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip()
    if branch is None and not current:
        hint = "name a branch with --branch"
        raise UsageError("HEAD is on no branch", kind="git-refused", hint=hint)
    name = current if branch is None else f"refs/heads/{branch}"
    if git.run("check-ref-format", "--normalize", name, check=False).decode().strip() != name:
        raise UsageError(f"{branch!r} cannot be a branch", kind="bad-argument", hint="take another name")
    found = [ref for ref in list_refs(git, name) if ref.name == name]
    return found[0] if found else Ref(name, GitOid("0" * (64 if git.hash_name == "sha256" else 40)), "")


def _refuse_in_the_way(repository: Repository, path: str) -> None:
    if repository.git.worktree is None:
        return
    others = ("ls-files", "--others", "-z", "--", path, ".lamella/runs")
    listing = repository.git.run(*others, env={"GIT_LITERAL_PATHSPECS": "1"}).split(b"\0")[:-1]
    found = [name for name in map(os.fsdecode, listing) if not Path(name).name.startswith(fsio.TEMPORARY_PREFIX)]
    if found:
        hint = "move it away, or name another place with --as"
        raise UsageError(f"{found[0]} is in the way and not in git", kind="git-refused", hint=hint)


class _Maker:
    """Makes the commits of one import."""

    def __init__(self, repository: Repository, writer: ObjectWriter, path: str, progress: Progress) -> None:
        self._repository = repository
        self._writer = writer
        self._path = path
        self._progress = progress
        self._earlier: dict[str, Manifest] = {}
        self.stored_nbytes = 0

    def commits(self, ref: Ref, versions: Sequence[Version]) -> list[GitOid]:
        git = self._repository.git
        parent: GitOid | None = ref.oid if int(ref.oid, 16) else None
        if (
            parent is None
            and list_refs(git, "refs/heads")
            and git.run("rev-parse", "-q", "--verify", "HEAD", check=False)
        ):
            parent = git.resolve("HEAD^{commit}")
        tree = None if parent is None else read_commit(self._writer, parent).tree
        made = []
        for version in versions:
            tree = self._tree(tree, version)
            parent = self._commit(tree, parent, version)
            made.append(parent)
        return made

    def _tree(self, tree: GitOid | None, version: Version) -> GitOid:
        changes: dict[bytes, tuple[bytes, GitOid] | None] = {}
        models = []
        for file in version.files:
            place = f"{self._path}/{version.renamed.get(file, file)}"
            state = (version.root / file).stat()
            mode = b"100755" if state.st_mode & stat.S_IXUSR else FILE
            blob = self._model(place, version.root, file) if _is_model(file, state) else self._text(version.root / file)
            changes[os.fsencode(place)] = mode, blob
            if _is_model(file, state):
                models.append(os.fsencode(place))
        for name, text in version.texts.items():
            changes[os.fsencode(name)] = FILE, self._writer.add("blob", text)
        emptied = None if tree is None else changed_tree(self._writer, tree, {os.fsencode(self._path): None})
        changes.update(self._attributes(emptied, models))
        return changed_tree(self._writer, emptied, changes) or self._writer.add("tree", b"")

    def _attributes(self, tree: GitOid | None, models: Sequence[bytes]) -> dict[bytes, tuple[bytes, GitOid] | None]:
        """Return the .gitattributes of the root that says so of all models."""
        blob = None if tree is None else find(self._writer, tree, takeover.NAME)
        files = {} if blob is None else {b"": self._writer.read(blob)[1]}
        named = {b"*" + suffix if suffix else b"/" + escaped(path): None for path, suffix in map(_suffixed, models)}
        unsaid = takeover.unfiltered(files, models)
        wanted = [name for name in named if any(_names(name, path) for path in unsaid)]
        changed = takeover.taken_over(files, models, (), wanted) if wanted else {}
        return {folder + takeover.NAME: (FILE, self._writer.add("blob", text)) for folder, text in changed.items()}

    def _model(self, place: str, root: Path, file: str) -> GitOid:
        with open_file(root, file) as opened, FolderNeighbours(opened.directory_fd, root) as neighbours:
            source = DescriptorFile(opened.fd, opened.state.st_size, opened.path)
            earlier = [self._earlier[place]] if place in self._earlier else []
            others = list(self._earlier.values())
            beside = Beside(Path(file).name, neighbours)
            checked = check_in(self._repository.store, source, earlier, self._progress, lambda: others, beside)
            opened.ensure_unchanged()
        self._earlier[place] = checked.manifest
        self.stored_nbytes += checked.added.stored_nbytes
        return self._writer.add("blob", write_manifest(checked.manifest))

    def _text(self, file: Path) -> GitOid:
        with fsio.translated(file, reading=True):
            return self._writer.add("blob", file.read_bytes())

    def _commit(self, tree: GitOid, parent: GitOid | None, version: Version) -> GitOid:
        git = self._repository.git
        author, committer = (git.run("var", f"GIT_{who}_IDENT").strip() for who in ("AUTHOR", "COMMITTER"))
        who, zone = author.rsplit(b" ", 2)[0], author.rsplit(b" ", 1)[1]
        if version.author:
            name = b" ".join(os.fsencode(version.author).translate(None, b"<>\n\r\0").split())
            who = name + b" <" + name.replace(b" ", b".") + b">" if name else who
        lines = [b"tree " + tree.encode(), *([b"parent " + parent.encode()] if parent else [])]
        lines += [b"author %s %d %s" % (who, max(0, version.seconds), zone), b"committer " + committer]
        message = os.fsencode(version.message.replace("\0", "")) + b"\n"
        return self._writer.add("commit", b"\n".join((*lines, b"", message)))


def _is_model(file: str, state: os.stat_result) -> bool:
    return state.st_size > 0 and (file.lower().endswith(_SUFFIXES) or state.st_size >= _LARGE_NBYTES)


def _suffixed(path: bytes) -> tuple[bytes, bytes]:
    suffix = os.path.splitext(path)[1]
    return path, suffix if suffix.lower() in map(os.fsencode, _SUFFIXES) else b""


def _names(pattern: bytes, path: bytes) -> bool:
    return path.endswith(pattern[1:]) if pattern.startswith(b"*") else pattern == b"/" + escaped(path)
