"""sshmux put"""

from __future__ import annotations

import sys
from typing import Any

import click

from . import completion, transfers


@click.command("put")
@click.argument("host", shell_complete=completion.hosts)
@click.argument("paths", nargs=-1, required=True, metavar="LOCAL... REMOTE", type=click.UNPROCESSED)
@transfers.moving_options
def command(host: str, paths: tuple[str, ...], **settings: Any) -> None:
    """Send files over a connection that stays.

    A file takes its place when it is whole: nobody reads half of it, and Ctrl-C leaves what was
    there. REMOTE is a name, or a directory to put them into, from the home.

    \b
    sshmux put cluster job.sh data/
    sshmux put cluster -r --preserve inputs /scratch/me
    """
    if len(paths) < 2:
        raise click.UsageError("Give LOCAL... REMOTE.")
    sys.exit(
        transfers.move(host, settings, lambda connection: connection.put, paths[:-1], paths[-1])
    )
