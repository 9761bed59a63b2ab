"""The zip archives that torch.save and torch.jit.save write: a pickle, and a member for the bytes of each storage."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.core.limits import MAX_INFLATED_PICKLE_NBYTES, MAX_PICKLE_NBYTES
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.torch.layout import place
from lamella.formats.torch.names import Found, find_tensors
from lamella.formats.torch.pickle_values import Storage, Value, malformed
from lamella.formats.torch.pickle_walk import walk_pickle
from lamella.formats.zip_archive import first_name, read_member, read_members

_FIRST_NAMES = ("data.pkl", "constants.pkl", "version", "byteorder", ".format_version", ".storage_alignment")
_FIRST_FOLDERS = ("data/", "constants/", "code/", "extra/", ".data/")

_PICKLES = (("data.pkl", "data/", None), ("constants.pkl", "constants/", "constants"))
"""The pickles of an archive: where the storages of each lie, and what its tensors' names begin with."""


_MAX_ORDER_NBYTES = 16
"""The member that names a byte order says `little` or `big`."""


class TorchZipFormat:
    """Archives of PyTorch 1.6 and later, of any object, and of TorchScript.

    Tensors have the names of a state dict, of whatever the object is. A file whose pickle is malformed, or refers to a
    storage that is compressed or not there, is refused.
    """

    name = "torch"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim zip archives whose first member lies in a folder and has a name that PyTorch gives."""
        _, slash, rest = (first_name(head) or "").partition("/")
        return bool(slash) and (rest in _FIRST_NAMES or rest.startswith(_FIRST_FOLDERS))

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no such archive."""
        archive = _Archive(file)
        found, foreign = archive.read()
        tensors = place(found.tensors, archive.locate, swapped=archive.swapped)
        return arrange(self.name, file.nbytes, tensors, sorted(foreign), sealed=True)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the plain values in the file, by the names that tensors there would have."""
        return _Archive(file).read()[0].values


class _Archive:
    """The members of a file by their names behind the first slash, as PyTorch looks them up."""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        members = read_members(file)
        folder = members[0].name.partition("/")[0] + "/" if members else ""
        self._members = {
            member.name.removeprefix(folder): member for member in members if member.name.startswith(folder)
        }
        order = self._members.get("byteorder")
        self.swapped = order is not None and read_member(file, order, _MAX_ORDER_NBYTES) == b"big"

    def read(self) -> tuple[Found, frozenset[str]]:
        """Return what the pickles hold, and the foreign names in them."""
        if "data.pkl" not in self._members:
            raise malformed("the archive has no data.pkl")
        roots: list[tuple[str | None, Value]] = []
        foreign: frozenset[str] = frozenset()
        nbytes = 0
        for member_name, folder, name in _PICKLES:
            if member := self._members.get(member_name):
                limit_nbytes = MAX_PICKLE_NBYTES if member.stored else MAX_INFLATED_PICKLE_NBYTES
                walked = walk_pickle(read_member(self._file, member, limit_nbytes), folder)
                roots.append((name, walked.value))
                foreign |= walked.foreign
                nbytes += walked.end
        return find_tensors(roots, nbytes), foreign

    def locate(self, storage: Storage) -> tuple[int, int]:
        """Return where a storage begins and ends."""
        member = self._members.get(storage.key)
        if member is None or not member.stored:
            raise malformed(f"storage {storage.key[:80]!r} is not in the archive as it is")
        return member.offset, member.offset + member.nbytes
