"""sshmux tail"""

from __future__ import annotations

import sys

import click

from . import formatting
from .on_runner import Jobs, with_jobs


@click.command("tail")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--stderr", is_flag=True, help="What it writes to stderr.")
@click.option("--offset", default=0, metavar="BYTES", help="Where to begin.")
def command(job: str, follow: bool, stderr: bool, offset: int) -> None:
    """Print what a job writes, each line once, whatever connection is lost meanwhile.

    JOB is a handle, a token, or the scheduler's id.
    """

    async def work(jobs: Jobs) -> int:
        handle = await jobs.handle(job)
        stream = "stderr" if stderr else "stdout"
        lines = jobs.runner.output(handle, stream=stream, follow=follow, offset=offset)  # type: ignore[arg-type]
        async for line in lines:
            formatting.echo(line.text)
        return 0

    sys.exit(with_jobs(work))
