"""What DVC leaves in a repository: small files that name others by their MD5, and a cache that has them.

The files are described in DVC's documentation (`.dvc` files, `dvc.lock`, internal directories). What they say is not
trusted: a path that leaves the repository, or a digest that is none, makes the file one that is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.core import fsio
from lamella.core.errors import FormatError, LamellaError, NotFoundError
from lamella.core.limits import MAX_FOLDER_DEPTH, MAX_TENSOR_NBYTES
from lamella.repo.checkout import split_path
from lamella.repo.contents import KeptFile, plain_digest
from lamella.repo.yaml_nodes import Node, parse_yaml

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_LISTING_NBYTES = 256 << 20
_FOLDER = ".dir"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Output:
    """A file or a folder that DVC keeps: its path from the root, its MD5 (with `.dir` for a folder), and its length."""

    path: str
    md5: str
    nbytes: int
    executable: bool

    @property
    def is_folder(self) -> bool:
        """Whether the digest is that of a list of files."""
        return self.md5.endswith(_FOLDER)


def _malformed(reason: str) -> FormatError:
    return FormatError(f"it is no file of DVC's that is understood: {reason}", kind="header-malformed")


def read_dvc_file(path: str, data: bytes) -> list[Output]:
    """Return what the `.dvc` file at `path` keeps; raise FormatError (header-malformed) where it cannot be told."""
    node = _mapping(parse_yaml(data))
    folder = posixpath.join(posixpath.dirname(path), str(node.get("wdir") or ""))
    return [_output(folder, item) for item in _items(node.get("outs"))]


def read_dvc_lock(path: str, lock: bytes, pipeline: bytes | None) -> list[Output]:
    """Return what the stages in the `dvc.lock` at `path` made and DVC keeps; `pipeline` is the dvc.yaml beside it.

    That one says in which folder a stage ran, and which outputs Git keeps. Raises as `read_dvc_file` does.
    """
    node = _mapping(parse_yaml(lock))
    stages = _mapping(node["stages"] or {}) if "schema" in node and "stages" in node else node
    described = _mapping(_mapping(parse_yaml(pipeline or b"") or {}).get("stages") or {})
    found = []
    for name, stage in stages.items():
        about = described.get(name)
        about = about if isinstance(about, dict) else {}
        folder = posixpath.join(posixpath.dirname(path), str(about.get("wdir") or ""))
        kept_by_git = set(_kept_by_git(about))
        items = _items(_mapping(stage or {}).get("outs"))
        found += [_output(folder, item) for item in items if _path(item) not in kept_by_git]
    return found


def _kept_by_git(stage: dict[str, Node]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        items = stage.get(kind)
        for item in items if isinstance(items, list) else []:
            for path, options in item.items() if isinstance(item, dict) else ():
                if isinstance(options, dict) and options.get("cache") == "false":
                    yield path


def _mapping(node: Node) -> dict[str, Node]:
    if not isinstance(node, dict):
        raise _malformed("a mapping is missing")
    return node


def _items(node: Node) -> list[dict[str, Node]]:
    if not isinstance(node, list | None):
        raise _malformed("a list is missing")
    return [_mapping(item) for item in node or []]


def _path(item: dict[str, Node]) -> str:
    path = item.get("path")
    if not isinstance(path, str):
        raise _malformed("an output has no path")
    return path


def _output(folder: str, item: dict[str, Node]) -> Output:
    path, md5, size = _path(item), item.get("md5"), item.get("size")
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise _malformed("an output has no MD5")
    if item.get("hash") not in (None, "md5"):
        raise _malformed(f"it has digests by {str(item['hash'])[:20]!r}")
    if size is not None and not (isinstance(size, str) and _LENGTH.fullmatch(size) and int(size) <= MAX_TENSOR_NBYTES):
        raise _malformed("a length is none")
    nbytes = int(size) if isinstance(size, str) and not md5.endswith(_FOLDER) else -1
    return Output(_inside(posixpath.join(folder, path)), md5, nbytes, item.get("isexec") == "true")


def _inside(path: str) -> str:
    """Return a path without its dots; raise FormatError where it leaves the repository."""
    whole = posixpath.normpath(path)
    try:
        split_path(whole)
    except LamellaError as exc:
        raise _malformed("a path leaves the repository") from exc
    if whole.count("/") > MAX_FOLDER_DEPTH:
        raise _malformed("a path has too many folders")
    if whole == "." or "\n" in whole or "\\" in whole:
        raise _malformed("a path names no file")
    return whole


class DvcCache:
    """Where DVC keeps files: `.dvc/cache`, or what its configuration says; the layouts of versions 2 and 3."""

    def __init__(self, project: Path) -> None:
        settings = project / ".dvc"
        self.folder = settings / "cache"
        for name in ("config", "config.local"):
            said = _cache_setting(settings / name)
            self.folder = settings / said if said else self.folder

    def content(self, md5: str, nbytes: int) -> KeptFile:
        """Return the file with that digest."""
        places = tuple(folder / md5[:2] / md5[2:] for folder in (self.folder / "files" / "md5", self.folder))
        return KeptFile(f"md5:{md5}", nbytes, places, (plain_digest("md5"), _digest_of_unix_text))

    def files(self, output: Output) -> Iterator[Output]:
        """Yield the files of an output: itself, or all that its folder holds.

        Raises NotFoundError (object-missing) where the list of a folder is not here, and FormatError
        (header-malformed) where it is none, or is not the one that the digest names.
        """
        if not output.is_folder:
            yield output
            return
        kept = self.content(output.md5, -1)
        place = next((one for one in kept.places if one.is_file()), None)
        if place is None:
            hint = "`dvc fetch` gets it"
            raise NotFoundError(f"the list of files md5:{output.md5} is not here", kind="object-missing", hint=hint)
        with fsio.translated(place, reading=True):
            data = place.read_bytes() if place.stat().st_size <= _MAX_LISTING_NBYTES else b""
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != output.md5.removesuffix(_FOLDER):
            raise _malformed(f"{place} does not hold the list that it should")
        yield from _listed(output.path, data)


def _cache_setting(file: Path) -> str | None:
    """Return what a configuration of DVC's says of the cache's place."""
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        if file.is_file():
            with fsio.translated(file, reading=True):
                parser.read_string(file.read_bytes().decode("utf-8", "surrogateescape"))
    except ConfigParserError as exc:
        raise _malformed(f"{file} is no configuration") from exc
    return parser.get("cache", "dir", fallback=None)


def _listed(folder: str, data: bytes) -> Iterator[Output]:
    try:
        items: Any = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _malformed("a list of files is not JSON") from exc
    for item in items if isinstance(items, list) else [None]:
        md5, path = (item.get("md5"), item.get("relpath")) if isinstance(item, dict) else (None, None)
        if not isinstance(md5, str) or not _MD5.fullmatch(md5) or md5.endswith(_FOLDER) or not isinstance(path, str):
            raise _malformed("a list of files names something else")
        if _SURROGATE.search(path):
            raise _malformed("a list of files has a path that is no text")
        whole = _inside(posixpath.join(folder, path))
        if not whole.startswith(f"{folder}/"):
            raise _malformed("a path leaves its folder")
        yield Output(whole, md5, -1, executable=False)


def _digest_of_unix_text(pieces: Iterator[bytes]) -> str:
    """Return the MD5 that version 2 of DVC gave a text with the line ends of DOS: that of the same text without."""
    hasher, held = hashlib.md5(usedforsecurity=False), b""
    for piece in pieces:
        joined = held + piece
        held = b"\r" if joined.endswith(b"\r") else b""
        hasher.update(joined[: len(joined) - len(held)].replace(b"\r\n", b"\n"))
    hasher.update(held)
    return hasher.hexdigest()
