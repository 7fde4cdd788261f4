"""sshmux submit"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ..runner.job import Job, Resources
from . import completion, formatting
from .on_runner import Jobs, exit_status, json_option, with_jobs

_RESOURCES = ("nodes", "tasks", "cpus_per_task", "memory", "gpus", "time", "partition", "account")


@click.command(
    "submit", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("cluster", shell_complete=completion.hosts)
@click.argument("words", nargs=-1, metavar="[-- COMMAND...]", type=click.UNPROCESSED)
@click.option("--script", type=click.File("r"), help="A script to run; - is stdin.")
@click.option("--name", default="", help="A name for the job, for people.")
@click.option("--key", help="Submit it once, however often this is repeated.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="PATH", help="Put a file there.")
@click.option("-o", "--output", "outputs", multiple=True, metavar="PATTERN", help="For collect.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable for the job.")
@click.option("--setup", multiple=True, metavar="LINE", help="A shell line to run first.")
@click.option("--cwd", help="A remote directory to run in.")
@click.option("--array", metavar="INDICES", help="Tasks: 1-10, 1,3,5, 1-100%4.")
@click.option("--nodes", type=int, help="How many nodes.")
@click.option("--tasks", type=int, help="How many tasks.")
@click.option("--cpus-per-task", type=int, help="Processors of each task.")
@click.option("--memory", help="Of each node: 4G, 500M.")
@click.option("--gpus", type=int, help="How many.")
@click.option("--time", help="The limit: 30:00, 1-12:00:00.")
@click.option("--partition", help="The queue or partition.")
@click.option("--account", help="The account to charge.")
@click.option("--extra", multiple=True, metavar="OPTION", help="For the scheduler, as it is.")
@click.option("--wait", "waits", is_flag=True, help="Wait for its end; end with its status.")
@json_option
def command(cluster: str, words: tuple[str, ...], **settings: Any) -> None:
    """Submit a job to a cluster; prints its handle.

    CLUSTER is one of `sshmux clusters`, or whatever `ssh CLUSTER` takes. The job goes to the
    scheduler that is there, or runs by itself on a plain host.

    \b
    sshmux submit hpc --time 1:00:00 --tasks 4 --script job.sh -i input.dat -o '*.out'
    sshmux submit hpc -- make -j4

    Exit status: 0, or with --wait the job's own; 255 when it was not submitted.
    """
    if words[:1] == ("--",):
        words = words[1:]
    script = settings.pop("script")
    if bool(words) == (script is not None):
        raise click.UsageError("Give a COMMAND, or --script FILE.")
    waits, as_json, key = settings.pop("waits"), settings.pop("as_json"), settings.pop("key")
    job = _job(script.read() if script is not None else None, words, settings)

    async def work(jobs: Jobs) -> int:
        handle = await jobs.runner.submit(jobs.cluster(cluster), job, key=key)
        if not as_json:
            formatting.echo(str(handle))
        elif not waits:
            status = await jobs.runner.status(handle)
            formatting.echo(json.dumps(status.as_dict(), indent=2))
        if not waits:
            return 0
        status = await jobs.runner.wait(handle)
        if as_json:
            formatting.echo(json.dumps(status.as_dict(), indent=2))
        return exit_status(status)

    sys.exit(with_jobs(work))


def _job(script: str | None, words: tuple[str, ...], settings: dict[str, Any]) -> Job:
    wanted = {name: settings[name] for name in _RESOURCES if settings[name] is not None}
    pairs = [each.partition("=") for each in settings["env"]]
    if any(not equals for _, equals, _ in pairs):
        raise click.UsageError("-e: write NAME=VALUE.")
    return Job(
        script=script,
        argv=list(words) or None,
        name=settings["name"],
        inputs=[Path(path) for path in settings["inputs"]],
        outputs=list(settings["outputs"]),
        env={name: value for name, _, value in pairs},
        setup=list(settings["setup"]),
        cwd=settings["cwd"],
        array=settings["array"],
        resources=Resources(**wanted, extra=list(settings["extra"])),
    )
