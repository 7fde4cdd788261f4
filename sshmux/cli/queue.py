"""sshmux queue"""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from . import completion, formatting
from .on_runner import Jobs, json_option, with_jobs


@click.command("queue")
@click.argument("cluster", shell_complete=completion.hosts)
@json_option
def command(cluster: str, as_json: bool) -> None:
    """Show all that a cluster's scheduler has, of all users."""

    async def work(jobs: Jobs) -> int:
        rows = await jobs.runner.queue(jobs.cluster(cluster))
        if as_json:
            formatting.echo(json.dumps([dataclasses.asdict(each) for each in rows], indent=2))
        elif not rows:
            formatting.echo("Nothing is queued.")
        else:
            table = formatting.Table("ID", "NAME", "USER", "STATE", "REASON", "PARTITION", "NODES")
            for each in rows:
                task = "" if each.index is None else f"_{each.index}"
                cells = (each.name, each.user, each.state.value, str(each.reason))
                table.add(f"{each.native_id}{task}", *cells, each.partition, each.nodes)
            table.show()
        return 0

    sys.exit(with_jobs(work))
