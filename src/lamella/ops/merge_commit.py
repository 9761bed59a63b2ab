"""The commit that ends a merge."""

from __future__ import annotations

from lamella.repo.gitfaults import failure
from lamella.repo.repository import Repository


def commit_merge(repository: Repository) -> None:
    """Commit the merge that is under way, everything in it being settled, with the message that Git has for it.

    Raises what `failure` makes of a refusal, as that of a hook; the merge is then still under way.
    """
    arguments = ("commit", "--quiet", "--no-edit")
    ended = repository.git.attempt(*arguments)
    if ended.returncode:
        raise failure(arguments, ended.returncode, ended.stderr or ended.stdout)
