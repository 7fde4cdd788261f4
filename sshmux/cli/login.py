"""sshmux login"""

from __future__ import annotations

import sys
from typing import Any

import click

from ..manager import ConnectionManager
from . import completion, formatting, target

_DAY = 8 * 3600


@click.command("login")
@click.argument("host", shell_complete=completion.hosts)
@target.options
@click.option(
    "--persist",
    default=_DAY,
    show_default=True,
    metavar="SECONDS",
    help="How long the connection stays after its last use.",
)
def command(host: str, persist: int, **settings: Any) -> None:
    """Log in to a host, answering its questions here, and leave the connection behind.

    Whoever comes next with the same target and options uses it: `sshmux run`, and programs with
    `persist=` or dial="never". Nobody types a second code. A jump host on the way stays as well.

    \b
    sshmux login cluster           passwords and codes are asked for on the terminal
    sshmux run cluster -- squeue   needs none
    sshmux ls                      shows it
    sshmux stop cluster            ends it
    """
    if persist < 1:
        raise click.UsageError("--persist 0 would leave nothing behind.")
    prompter = target.terminal()
    manager = ConnectionManager(pool_size=1, persist=persist, prompter=prompter)
    manager.register_cluster(host, config=target.config(host, settings))
    sys.exit(target.until_signalled(_login(manager, host, persist)))


async def _login(manager: ConnectionManager, host: str, persist: int) -> int:
    async with manager:
        async with manager.get_connection(host) as connection:
            await connection.check()
        figures = await manager.get_connection_metrics(host)
    how = "was logged in already" if figures["adopted"] else "logged in"
    formatting.echo(f"{host}: {how}; it stays for {formatting.seconds(persist)} after its last use")
    return 0
