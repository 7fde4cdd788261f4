"""sshmux cancel"""

from __future__ import annotations

import json
import sys

import click

from . import formatting
from .on_runner import Jobs, json_option, with_jobs


@click.command("cancel")
@click.argument("names", nargs=-1, required=True, metavar="JOB...")
@click.option("--grace", default=10.0, show_default=True, help="Seconds between TERM and KILL.")
@json_option
def command(names: tuple[str, ...], grace: float, as_json: bool) -> None:
    """End jobs. What has ended stays as it is.

    JOB is a handle, a token, or the scheduler's id.

    Exit status: 0 when all have ended.
    """

    async def work(jobs: Jobs) -> int:
        ended = []
        for name in names:
            status = await jobs.runner.cancel(await jobs.handle(name), grace=grace)
            ended.append(status)
            if not as_json:
                formatting.echo(f"{status.handle.token}: {status.state.value}")
        if as_json:
            formatting.echo(json.dumps([each.as_dict() for each in ended], indent=2))
        return 0 if all(each.final for each in ended) else 1

    sys.exit(with_jobs(work))
