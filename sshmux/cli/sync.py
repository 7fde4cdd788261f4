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

    The remote side has a colon in front. Both sides need rsync; its options come after HOST, before
    or after SOURCE and DESTINATION, which stand together.

    \b
    sshmux sync cluster -a --delete results/ :results/
    sshmux sync cluster -av :results/ results/
    """
    if words[:1] == ("--",):
        words = words[1:]
    source, destination, options = _sides(words)

    async def work(connection: Connection) -> int:
        done = await connection.rsync(source, destination, *options)
        formatting.echo(done.stdout, nl=False)
        return 0

    sys.exit(transfers.on_connection(host, settings, work))


def _sides(words: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Source, destination and the options around them.

    One of the two has a colon in front, and the other is the word beside it that is no option: the
    word before it may be an option's value, if there is one behind it.
    """
    for at in range(len(words) - 1, -1, -1):
        if not words[at].startswith(":"):
            continue
        for first in (at, at - 1):
            pair = words[first : first + 2] if first >= 0 else ()
            if len(pair) == 2 and not any(word.startswith("-") for word in pair):
                return *pair, words[:first] + words[first + 2 :]
    if len(words) < 2:
        raise click.UsageError("Give SOURCE and DESTINATION, one of them with a colon in front.")
    return words[-2], words[-1], words[:-2]
