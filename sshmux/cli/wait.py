"""sshmux wait"""

from __future__ import annotations

import json
import sys

import click

from ..errors import TimeoutError as Timeout
from . import formatting
from .on_runner import Jobs, exit_status, json_option, with_jobs

_NOT_YET = 3


@click.command("wait")
@click.argument("names", nargs=-1, required=True, metavar="JOB...")
@click.option("--timeout", type=float, help="Seconds to wait at most.")
@json_option
def command(names: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until jobs have ended.

    JOB is a handle, a token, or the scheduler's id.

    Exit status: the job's own (of several: 0, or the first that is not); 124 when its time was
    over, 130 when it was cancelled, 255 when it is lost, 3 when --timeout is over.
    """

    async def work(jobs: Jobs) -> int:
        handles = [await jobs.handle(name) for name in names]
        found = {}
        try:
            async for status in jobs.runner.as_completed(handles, timeout):
                found[status.handle] = status
                if not as_json:
                    formatting.echo(f"{status.handle.token}: {status.state.value} {status.reason}")
        except Timeout as error:
            formatting.echo(f"sshmux: {error}", err=True)
            return _NOT_YET
        if as_json:
            told = [found[handle].as_dict() for handle in handles]
            formatting.echo(json.dumps(told, indent=2))
        codes = [exit_status(found[handle]) for handle in handles]
        return next((code for code in codes if code), 0)

    sys.exit(with_jobs(work))
