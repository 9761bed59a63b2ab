"""The server side of Git's long-running filter protocol, version 2, as gitattributes(5) describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.errors import LamellaError
from lamella.repo.packetline import Content, PacketReader, PacketWriter, protocol_error

_CAPABILITIES = ("capability=clean", "capability=smudge")

Complain = Callable[[str, LamellaError], None]
"""Hears of the path that could not be filtered, and why. It never raises."""


class FilterHandler(Protocol):
    """What happens to a file on its way into Git and out of it.

    Both methods get the path, relative to the root of the worktree, and the content. Git listens only after it has
    spoken: a handler reads all the content it wants before it yields its first piece, and what it left is dropped
    then. Pieces may be of any length and may be reused once the next one is asked for. A LamellaError, before or
    between the pieces, makes Git refuse that path; any other exception ends the conversation.
    """

    def clean(self, path: str, content: Content) -> Iterable[Buffer]:
        """Turn the content of a file into what Git keeps."""
        ...

    def smudge(self, path: str, content: Content) -> Iterable[Buffer]:
        """Turn what Git keeps into the content of the file."""
        ...


def serve(stdin: int, stdout: int, handler: FilterHandler, complain: Complain) -> None:
    """Answer Git over two file descriptors until it closes its end.

    Raises FormatError (protocol) where the input is not the protocol and BackendError (git-failed) where Git has
    gone. An unforeseen exception of the handler is raised again, after Git was told to ask no more.
    """
    reader, writer = PacketReader(stdin), PacketWriter(stdout)
    _greet(reader, writer)
    while not reader.at_end():
        command, path = _request(reader)
        work = {"clean": handler.clean, "smudge": handler.smudge}.get(command)
        if work is None:
            raise protocol_error(f"the command {command[:40]!r}")
        _Answer(reader, writer, complain).give(path, work)


def _greet(reader: PacketReader, writer: PacketWriter) -> None:
    if reader.read_text() != "git-filter-client":
        raise protocol_error("no greeting of a filter's client")
    if "version=2" not in _texts(reader):
        raise protocol_error("no version that is known here")
    writer.write_texts("git-filter-server", "version=2")
    offered = _texts(reader)
    writer.write_texts(*(capability for capability in _CAPABILITIES if capability in offered))


def _texts(reader: PacketReader) -> set[str]:
    """Return those texts up to the flush packet that mean something to us."""
    known = {"version=2", *_CAPABILITIES}
    found = set()
    while (text := reader.read_text()) is not None:
        found.update({text} & known)
    return found


def _request(reader: PacketReader) -> tuple[str, str]:
    fields = {"command": "", "pathname": ""}
    while (text := reader.read_text()) is not None:
        key, _, value = text.partition("=")
        if key in fields:
            fields[key] = value
    if not fields["pathname"]:
        raise protocol_error("a request without a path")
    return fields["command"], fields["pathname"]


class _Answer:
    """One request's answer: a status, the content, and a second status where the first did not hold."""

    def __init__(self, reader: PacketReader, writer: PacketWriter, complain: Complain) -> None:
        self._reader = reader
        self._writer = writer
        self._complain = complain
        self._content = Content(reader)
        self._begun = False

    def give(self, path: str, work: Callable[[str, Content], Iterable[Buffer]]) -> None:
        """Answer with what `work` makes of the content, or with its failure."""
        try:
            for piece in work(path, self._content):
                self._begin()
                self._writer.write(piece)
            self._begin()
            self._writer.flush()
            self._writer.write_texts()
        except LamellaError as error:
            if self._reader.broken or self._writer.broken:
                raise
            self._complain(path, error)
            self._take_back("status=error")
        except Exception:
            if not (self._reader.broken or self._writer.broken):
                self._take_back("status=abort")
            raise

    def _begin(self) -> None:
        if not self._begun:
            self._content.close()
            self._writer.write_texts("status=success")
            self._begun = True

    def _take_back(self, status: str) -> None:
        if self._begun:
            self._writer.flush()
        else:
            self._content.close()
        self._writer.write_texts(status)
