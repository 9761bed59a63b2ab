"""What a stored file says beside its tensors, as a digest: two that say the same differ in their weights alone."""

from __future__ import annotations

from blake3 import blake3

from lamella.formats.hollow import layout_of
from lamella.formats.rest import rest_runs
from lamella.repo.checkout import load_skeleton, stored_file
from lamella.repo.manifest import Manifest
from lamella.store.objects import ObjectStore


def digest_rest(store: ObjectStore, manifest: Manifest) -> bytes:
    """Return a digest of all in a file that does not follow from its tensors.

    Where nothing in the rest of a file depends on what tensors hold, that is the id of the skeleton. Raises
    NotFoundError (object-missing), IntegrityError, and ConflictError (manifest-mixed) as `load_skeleton` does.
    """
    if manifest.skeleton is None:
        return b""
    skeleton = bytes(manifest.skeleton)
    if manifest.seal is None and not manifest.views:
        return skeleton
    file = stored_file(store, manifest, load_skeleton(store, manifest), only_parts=True)
    layout = layout_of(manifest.format, file)
    if layout is None:
        return skeleton
    hasher = blake3()
    for section, offset, nbytes in rest_runs(file, layout):
        name = section.encode("utf-8", "surrogatepass")
        hasher.update(b"%d %d\0" % (len(name), nbytes) + name)
        hasher.update(file.read_at(offset, nbytes))
    return hasher.digest()
