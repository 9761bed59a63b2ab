"""A history that DVC has kept, as something to be taken over."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from lamella.core.errors import LamellaError
from lamella.core.limits import IO_NBYTES
from lamella.repo import takeover
from lamella.repo.checkins import Absent
from lamella.repo.dvc import DvcCache, Output, read_dvc_file, read_dvc_lock
from lamella.repo.git import Git, GitOid
from lamella.repo.objects import ObjectReader
from lamella.repo.patterns import escaped, matches_any
from lamella.repo.transfer import Model
from lamella.repo.trees import FILE, File

_IGNORED = b".gitignore"
_LOCK, _PIPELINE, _SUFFIX = b"dvc.lock", b"dvc.yaml", b".dvc"
_EXECUTABLE = b"100755"
_MAX_TEXT_NBYTES = 16 * IO_NBYTES

_Outputs: TypeAlias = tuple[tuple[Output, tuple[Output, ...]], ...]
"""Each output of a file of DVC's, with the files that it is."""


class DvcOrigin:
    """Outputs of DVC become manifests where they belong; their `.dvc` files and lines of .gitignore go.

    `dvc.yaml` and `dvc.lock` stay: they say how a model was made. With `patterns`, only files that they name are
    taken, and a `.dvc` file goes only where nothing is left of it. For `lamella.repo.transfer.Origin`; use it in a
    `with` block. `unread` are files of DVC's that could not be understood, and stay.
    """

    def __init__(self, git: Git, project: Path, patterns: Sequence[bytes] = ()) -> None:
        self._patterns = patterns
        self._cache = DvcCache(project)
        self._reader = ObjectReader(git, limit_nbytes=_MAX_TEXT_NBYTES, replace=False)
        self._unread: dict[tuple[bytes, str], Absent] = {}
        self._outputs = lru_cache(maxsize=1 << 14)(self._read_outputs)

    def __enter__(self) -> DvcOrigin:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._reader.close()

    @property
    def unread(self) -> Sequence[Absent]:
        """The files of DVC's that stay because they could not be understood, each version once."""
        return list(self._unread.values())

    def wanted(self, file: File) -> bool:
        """Want what DVC writes, and what says how files are kept."""
        name = _name(file)
        return file.regular and (
            name in (_LOCK, _PIPELINE, _IGNORED, takeover.NAME) or (name.endswith(_SUFFIX) and name != _SUFFIX)
        )

    def models(self, files: Sequence[File]) -> Mapping[bytes, Model]:
        """Return the outputs, those in folders one by one."""
        found = {}
        for _, outputs in self._kept(files):
            for one in (one for _, listed in outputs for one in listed):
                mode = _EXECUTABLE if one.executable else FILE
                found[os.fsencode(one.path)] = Model(mode, self._cache.content(one.md5, one.nbytes))
        if self._patterns:
            found = {path: model for path, model in found.items() if matches_any(self._patterns, path)}
        return found

    def _kept(self, files: Sequence[File]) -> Iterator[tuple[File, _Outputs]]:
        """Yield each file of DVC's that keeps something, with all the files that it keeps."""
        pipelines = {file.path: file.oid for file in files if _name(file) == _PIPELINE}
        for file in files:
            if _name(file).endswith(_SUFFIX):
                yield file, self._outputs(file, None)
            elif _name(file) == _LOCK:
                yield file, self._outputs(file, pipelines.get(file.path.removesuffix(_LOCK) + _PIPELINE))

    def _read_outputs(self, file: File, pipeline: GitOid | None) -> _Outputs:
        path, data = os.fsdecode(file.path), self._text(file.oid)
        try:
            if _name(file) == _LOCK:
                outputs = read_dvc_lock(path, data, self._text(pipeline) if pipeline else None)
            else:
                outputs = read_dvc_file(path, data)
            return tuple((output, tuple(self._cache.files(output))) for output in outputs)
        except LamellaError as error:
            self._unread[file.path, file.oid] = Absent(path, f"git:{file.oid}", 0, error.kind, error.message)
            return ()

    def texts(
        self,
        files: Sequence[File],
        taken: Collection[bytes],
        left: Collection[bytes],  # noqa: ARG002 -- what is not taken stays DVC's
    ) -> Mapping[bytes, bytes | None]:
        """Return what no longer is DVC's business: its files, and what Git was told to ignore."""
        have = set(taken)
        if not have:
            return {}
        texts: dict[bytes, bytes | None] = {}
        folders: list[bytes] = []
        for file, outputs in self._kept(files):
            whole = [output for output, listed in outputs if {os.fsencode(one.path) for one in listed} <= have]
            folders += [os.fsencode(output.path) for output in whole if output.is_folder]
            if _name(file) != _LOCK and outputs and len(whole) == len(outputs):
                texts[file.path] = None
        contents = {file.path: self._text(file.oid) for file in files if _name(file) in (_IGNORED, takeover.NAME)}
        for path, content in contents.items():
            folder, name = path[: path.rfind(b"/") + 1], path[path.rfind(b"/") + 1 :]
            if name == _IGNORED and (shown := _shown(content, folder, have)) != content:
                texts[path] = shown or None
        attributes = {path.removesuffix(takeover.NAME): text for path, text in contents.items() if _is_attributes(path)}
        alone = [path for path in sorted(have) if not any(path.startswith(folder + b"/") for folder in folders)]
        patterns = [b"/" + escaped(path) for path in alone]
        patterns += [b"/" + escaped(folder) + b"/**" for folder in sorted(set(folders))]
        changed = takeover.taken_over(attributes, have, (), patterns)
        return {**texts, **{folder + takeover.NAME: text for folder, text in changed.items()}}

    def _text(self, oid: GitOid) -> bytes:
        found = self._reader.read(oid)
        return b"" if found is None or found.data is None else found.data


def _name(file: File) -> bytes:
    return file.path.rpartition(b"/")[2]


def _is_attributes(path: bytes) -> bool:
    return path.rpartition(b"/")[2] == takeover.NAME


def _shown(content: bytes, folder: bytes, taken: Collection[bytes]) -> bytes:
    """Return a .gitignore without the lines that DVC wrote for what is taken, or for a folder that holds it."""
    hidden = set(taken)
    for path in taken:
        parts = path.split(b"/")
        hidden.update(b"/".join(parts[:number]) for number in range(1, len(parts)))
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if not (line.startswith(b"/") and folder + line[1:].rstrip(b"/\r\n") in hidden)]
    return b"".join(kept)
