"""sshmux get"""

from __future__ import annotations

import sys
from typing import Any

import click

from . import completion, transfers


@click.command("get")
@click.argument("host", shell_complete=completion.hosts)
@click.argument("paths", nargs=-1, required=True, metavar="REMOTE... LOCAL", type=click.UNPROCESSED)
@transfers.moving_options
def command(host: str, paths: tuple[str, ...], **settings: Any) -> None:
    """Fetch files over a connection that stays.

    A file takes its place when it is whole. Patterns in quotes are expanded on the remote.

    \b
    sshmux get cluster results.h5 .
    sshmux get cluster 'logs/*.out' logs/
    """
    if len(paths) < 2:
        raise click.UsageError("Give REMOTE... LOCAL.")
    sys.exit(
        transfers.move(host, settings, lambda connection: connection.get, paths[:-1], paths[-1])
    )
