"""`lamella version`."""

from __future__ import annotations

import click

from lamella.cli.direct import version
from lamella.cli.session import json_option


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Print the version, and whether the native kernels are in use."""
    return version.run(["--json"] if as_json else [])
