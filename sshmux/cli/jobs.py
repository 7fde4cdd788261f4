"""sshmux jobs"""

from __future__ import annotations

import json
import sys

import click

from . import formatting
from .on_runner import COLUMNS, Jobs, json_option, row, with_jobs


@click.command("jobs")
@click.argument("cluster", required=False)
@click.option("-a", "--all", "everything", is_flag=True, help="Also jobs that have ended.")
@click.option("--known", is_flag=True, help="Only what is known already: nobody is asked.")
@json_option
def command(cluster: str | None, everything: bool, known: bool, as_json: bool) -> None:
    """Show the jobs that were submitted from here.

    Exit status: 0.
    """

    async def work(jobs: Jobs) -> int:
        await jobs.refresh()
        wanted = None if cluster is None else jobs.cluster(cluster)
        found = await jobs.runner.list(wanted, refresh=not known)
        shown = [each for each in found if everything or not each.final]
        if as_json:
            formatting.echo(json.dumps([each.as_dict() for each in shown], indent=2))
        elif not shown:
            formatting.echo("No jobs.")
        else:
            table = formatting.Table(*COLUMNS)
            for each in shown:
                table.add(*row(each))
            table.show()
        return 0

    sys.exit(with_jobs(work))
