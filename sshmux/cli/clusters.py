"""sshmux clusters"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import click

from ..runner.database import ClusterRow, Database
from . import formatting
from .on_runner import json_option

_NO_SUCH = 3


@click.group("clusters", invoke_without_command=True)
@click.pass_context
@json_option
def command(context: click.Context, as_json: bool) -> None:
    """Show and change the catalogue of clusters that jobs are submitted to.

    No secret is in it: see `sshmux password`.
    """
    if context.invoked_subcommand is not None:
        return
    with Database() as database:
        rows = database.get_clusters()
    if as_json:
        formatting.echo(json.dumps([_plain(row) for row in rows], indent=2))
    elif not rows:
        formatting.echo("No clusters: sshmux clusters add NAME HOST, or import.")
    else:
        table = formatting.Table("ID", "NAME", "HOST", ">PORT", "USER", "KEY")
        for row in rows:
            cells = (row.name, row.host, str(row.port), row.username or "-", row.key_file or "-")
            table.add(str(row.id), *cells)
        table.show()


@command.command("add")
@click.argument("name")
@click.argument("host")
@click.option("-p", "--port", default=22, show_default=True, help="As ssh's -p.")
@click.option("-l", "--user", help="As ssh's -l.")
@click.option("-i", "--identity", type=click.Path(), help="A private key.")
def add(name: str, host: str, port: int, user: str | None, identity: str | None) -> None:
    """Add a cluster; prints its id."""
    with Database() as database:
        formatting.echo(str(database.add_cluster(name, host, port, user, identity).id))


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove a cluster, by its name or id. Its jobs stay known."""
    with Database() as database:
        rows = [row for row in database.get_clusters() if name in (row.name, str(row.id))]
        if not rows:
            formatting.echo(f"sshmux: no cluster is called {name!r}", err=True)
            sys.exit(_NO_SUCH)
        for row in rows:
            database.remove_cluster(row.id)


@command.command("import")
@click.option("-F", "--config", type=click.Path(), help="Another ssh_config.")
def import_config(config: str | None) -> None:
    """Add the hosts that ssh_config names."""
    with Database() as database:
        for row in database.import_ssh_config(config):
            formatting.echo(row.name)


def _plain(row: ClusterRow) -> dict[str, Any]:
    return dataclasses.asdict(row)
