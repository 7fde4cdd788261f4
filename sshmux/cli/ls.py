"""sshmux ls"""

from __future__ import annotations

import json

import click

from ..openssh.control.directory import ControlDir
from . import formatting, inventory

_COLOURS = {"in use": "green", "idle": "", "stale": "red", "orphan": "yellow", "dialling": "cyan"}


@click.command("ls")
@click.option("--json", "as_json", is_flag=True, help="A list of objects, all fields.")
def command(as_json: bool) -> None:
    """Show every connection in the control directory.

    \b
    STATE       what it means
    dialling    a log-in is under way
    in use      a command runs over it now
    idle        a program holds it, nothing runs
    persistent  nobody holds it: the next program with the same target may
    orphan      who held it died; it leaves by itself within its grace
    stale       its master is gone; the next start of a manager sweeps it away
    elsewhere   made on another machine that shares this directory
    unknown     a socket without a record

    IDLE counts from the last time that it was given back. OWNER is the program that holds it; a
    shared connection may have several. MEMORY is the master's resident memory, most of it shared
    with every other ssh.
    """
    directory = ControlDir()
    items = inventory.read(directory)
    if as_json:
        formatting.echo(json.dumps([item.to_json() for item in items], indent=2))
        return
    if not items:
        formatting.echo(f"No connections in {directory.path}.")
        return
    table = formatting.Table(
        "NAME", "TARGET", "STATE", ">PID", ">AGE", ">IDLE", ">SESSIONS", ">MEMORY", "OWNER"
    )
    for item in items:
        colour = _COLOURS.get(item.state, "")
        table.add(
            item.name,
            item.record.address if item.record else "-",
            formatting.styled(item.state, colour),
            str(item.record.master_pid or "-") if item.record else "-",
            formatting.seconds(item.age),
            formatting.seconds(item.idle),
            "?" if item.sessions is None else str(item.sessions),
            formatting.megabytes(item.memory),
            item.owner,
        )
    table.show()
