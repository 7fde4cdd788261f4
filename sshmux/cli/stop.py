"""sshmux stop"""

from __future__ import annotations

import asyncio
import sys

import click

from ..openssh import argv
from ..openssh.control.directory import ControlDir
from ..openssh.control.evidence import recorded_master
from ..openssh.control.master import end_process
from ..openssh.control.sweep import end_running
from ..system.processes import capture
from . import completion, formatting, inventory, target

_NO_SUCH = 3
_ASK_DEADLINE = 3.0  # seconds for `ssh -O …`, which only talks to the local master
_LEAVE_DEADLINE = 2.0  # seconds for a master to leave after `ssh -O exit`


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.names)
@click.option("--all", "everything", is_flag=True, help="Everything in the control directory.")
@click.option(
    "--drain",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How long running commands may still go on.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also what programs share, for all of them.")
def command(names: tuple[str, ...], everything: bool, drain: float, yes: bool, force: bool) -> None:
    """End connections, and the commands that run over them.

    NAME is a connection's name, a cluster or a target, as `sshmux ls` shows them, or a pattern
    ('hpc*'). Sockets and records of masters that are gone are removed as well.

    A connection that several programs hold is only ended if you say so: on a terminal you are
    asked, elsewhere it takes --force. Without, you are told who they are.

    Exit status: 0; 1 when you said no, or it takes --force; 3 when a NAME means nothing.
    """
    if bool(names) == everything:
        raise click.UsageError("Give the NAMEs of connections, or --all.")
    items, unmatched = inventory.read(ControlDir()), list[str]()
    if names:
        items, unmatched = inventory.select(items, names)
    items = [item for item in items if item.state not in ("elsewhere", "unknown")]
    busy = [item for item in items if item.owned or item.sessions]
    if busy and not yes and not force and sys.stdin.isatty():
        shown = ", ".join(map(_with_holders, busy))
        if not click.confirm(f"In use by a program, or running a command: {shown}. End them?"):
            sys.exit(1)
        force = True
    kept = [] if force else [item for item in items if len({*item.holders}) > 1]
    items = [item for item in items if item not in kept]
    if status := target.until_signalled(_stop_all(items, drain)):
        sys.exit(status)
    for item in items:
        formatting.echo(f"{item.name}: {'removed' if item.state == 'stale' else 'ended'}")
    for item in kept:
        formatting.echo(
            f"sshmux: {_with_holders(item)} was left: --force ends it for all of them",
            err=True,
        )
    for name in unmatched:
        formatting.echo(f"sshmux: no connection is called {name!r}: see `sshmux ls`", err=True)
    if not items and not unmatched and not kept:
        formatting.echo("No connections to end.")
    sys.exit(_NO_SUCH if unmatched else bool(kept))


def _with_holders(item: inventory.Item) -> str:
    held = ", ".join(map(inventory.described, dict.fromkeys(item.holders)))
    return f"{item.name} (held by {held})" if held else item.name


async def _stop_all(items: list[inventory.Item], drain: float) -> int:
    for leads_on in (False, True):  # the way to others goes last
        these = [item for item in items if item.entry.leads_on is leads_on]
        await asyncio.gather(*(_stop(item, drain) for item in these))
    return 0


async def _stop(item: inventory.Item, drain: float) -> None:
    """Drains, if that is wanted; ends what runs; then -O exit, SIGTERM, SIGKILL."""
    process = recorded_master(item.entry, item.record) if item.record else None
    if process is not None:
        # -O stop lets the running commands end; but the master stays as long as its owner's
        # lease does, so the end of the drain is the end.
        drained = drain > 0 and await _ask(item, "stop") and await process.wait_gone(drain)
        if not drained:
            if item.sessions != 0:
                await end_running(item.entry)
            await _ask(item, "exit")
            if not await process.wait_gone(_LEAVE_DEADLINE):
                await end_process(process)
    item.entry.remove()


async def _ask(item: inventory.Item, operation: str) -> bool:
    try:
        line = argv.control("ssh", item.entry.socket, operation)
        return (await capture(line, timeout=_ASK_DEADLINE)).status == 0
    except TimeoutError:
        return False
