"""Making commits in test repositories."""

from __future__ import annotations

from lamella.repo.git import Git, GitOid


def commit(git: Git, files: dict[str, bytes], message: str = "change") -> GitOid:
    """Write `files` into the worktree, commit them, and return the commit."""
    for path, content in files.items():
        file = git.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    git.run("add", "--", *files)
    git.run("commit", "--quiet", "--message", message)
    return git.resolve("HEAD")
