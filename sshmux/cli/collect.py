"""sshmux collect"""

from __future__ import annotations

import json
import sys

import click

from . import formatting
from .on_runner import Jobs, json_option, with_jobs


@click.command("collect")
@click.argument("job")
@click.argument("into", default=".")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--cleanup", is_flag=True, help="Then remove the job, there and here.")
@json_option
def command(job: str, into: str, patterns: tuple[str, ...], cleanup: bool, as_json: bool) -> None:
    """Fetch a job's outputs into a directory (default: this one), all or none.

    JOB is a handle, a token, or the scheduler's id. Without a PATTERN: the outputs that it was
    submitted with, or everything.
    """

    async def work(jobs: Jobs) -> int:
        handle = await jobs.handle(job)
        found = await jobs.runner.collect(handle, into, list(patterns) or None)
        if cleanup:
            await jobs.runner.cleanup(handle)
        if as_json:
            formatting.echo(json.dumps([str(path) for path in found]))
        for path in () if as_json else found:
            formatting.echo(str(path))
        return 0

    sys.exit(with_jobs(work))
