"""sshmux sync"""

from __future__ import annotations

import sys
from typing import Any

import click

from ..connection import Connection
from . import completion, formatting, transfers


@click.command(
    "sync", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("host", shell_complete=completion.hosts)
@click.argument("words", nargs=-1, metavar="[RSYNC-OPTION]... SOURCE DESTINATION")
@transfers.connection_options
def command(host: str, words: tuple[str, ...], **settings: Any) -> None:
    """Run rsync over a connection that stays.

    The remote side has a colon in front. Both sides need rsync; its options come after HOST.

    \b
    sshmux sync cluster -a --delete results/ :results/
    sshmux sync cluster -av :results/ results/
    """
    if words[:1] == ("--",):
        words = words[1:]
    if len(words) < 2:
        raise click.UsageError("Give SOURCE and DESTINATION.")

    async def work(connection: Connection) -> int:
        done = await connection.rsync(words[-2], words[-1], *words[:-2])
        formatting.echo(done.stdout, nl=False)
        return 0

    sys.exit(transfers.on_connection(host, settings, work))
