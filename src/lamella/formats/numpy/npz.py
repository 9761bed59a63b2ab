"""NumPy's archive of arrays: a zip archive whose members are files of one array each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.names import TensorNames
from lamella.formats.numpy.npy import ArrayHeader, read_array_header, tensors_of
from lamella.formats.zip_archive import ZipMember, first_name, read_members

_SUFFIX = ".npy"
_MAX_SHOWN = 4096


class NpzFormat:
    """Archives that begin with an array, as `numpy.savez` and `scipy.sparse.save_npz` write them.

    An array that is stored as it is has the name of its member, without `.npy`; what `NpyFormat` says of arrays holds
    for each. Compressed arrays, and other members, are no tensors and stay as they are.
    """

    name = "npz"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim archives whose first member is a file of an array."""
        return (first_name(head) or "").endswith(_SUFFIX)

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the arrays lie; raise FormatError where the file is not sound."""
        tensors, names = [], TensorNames()
        for member, header in _arrays(file):
            if header is not None and header.dtype is not None:
                name = names.take(member.name.removesuffix(_SUFFIX), len(header.shape))
                tensors += tensors_of(header, name, member.offset + member.nbytes)
        return arrange(self.name, file.nbytes, tensors, sealed=True)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return, for the members that are no tensors, what they are."""
        shown = {}
        for member, header in _arrays(file):
            if header is None:
                packed = f", compressed to {member.nbytes}" if not member.stored else ""
                shown[member.name] = f"{member.decoded_nbytes} bytes{packed}"
            elif header.dtype is None:
                shown[member.name] = header.text[:MAX_METADATA_NBYTES]
            if len(shown) == _MAX_SHOWN:
                break
        return shown


def _arrays(file: RandomAccess) -> Iterator[tuple[ZipMember, ArrayHeader | None]]:
    """Yield every member, with its header where it is an array that is not compressed."""
    for member in read_members(file):
        header = None
        if member.stored and member.name.endswith(_SUFFIX):
            header = read_array_header(file, member.offset, member.offset + member.nbytes)
        yield member, header
