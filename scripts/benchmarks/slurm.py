"""Jobs of RemoteRunner on a Slurm of its own: what submitting costs beside a bare sbatch."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sshmux import ClusterOptions, Job, RemoteRunner, Resources
from sshmux.testing import PrivateServer

from .figures import BARE, OURS, Figure, Goal
from .measure import column, each
from .world import MAX_SESSIONS, World

_SCRIPTS = Path(__file__).parents[2] / "tests" / "clusters"
_NEEDED = ("slurmctld", "munged")  # Debian's slurm-wlm, munge
_MANY = "submit_many()"


async def slurm(world: World) -> AsyncIterator[Figure]:
    """Held jobs: what runs would disturb what is measured."""
    if os.geteuid() != 0 or not all(map(shutil.which, _NEEDED)):
        world.on_failure("Slurm", RuntimeError("it needs root, and slurm-wlm and munge"))
        return
    many = 200 if world.plan.thorough else 100
    few = many // 10
    async with (
        _private_slurm() as directory,
        _beside(world, directory) as (place, runner),
        place.bare_masters(1) as sockets,
    ):
        script = directory / "bare"
        script.write_text("#!/bin/sh\ntrue\n")
        line = f"cd {directory} && sbatch --parsable --hold --output=log {script}"
        found = await place.race(
            {
                OURS: partial(each, few, partial(_one_by_one, runner, few)),
                _MANY: partial(each, many, partial(_in_one_go, runner, many)),
                BARE: partial(each, few, partial(_bare, place, sockets[0], line, few)),
            },
            rounds=world.plan.rounds_of_seconds(),
        )
    yield Figure(
        "jobs.sbatch",
        f"a job of {few} that are submitted to Slurm one by one ({_MANY}: of {many})",
        "ms",
        column(found, "seconds"),
        (Goal(1.3, BARE), Goal(0.25, OURS, who=_MANY)),
        note=f"{BARE}: sbatch over a master, without a directory, lock or files of its own",
    )


@contextlib.asynccontextmanager
async def _private_slurm() -> AsyncIterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="sxs"))
    env = {**os.environ, "ACCOUNTING": "none", "NODES": "2"}
    try:
        up = await asyncio.create_subprocess_exec(
            *("bash", str(_SCRIPTS / "slurm-up"), str(directory)), env=env
        )
        if await up.wait() != 0:
            raise RuntimeError("a private Slurm could not be started")
        yield directory
    finally:
        down = await asyncio.create_subprocess_exec(
            *("bash", str(_SCRIPTS / "slurm-down"), str(directory)), env=env
        )
        await down.wait()


@contextlib.asynccontextmanager
async def _beside(world: World, slurm: Path) -> AsyncIterator[tuple[World, RemoteRunner]]:
    """An sshd from which it is found, and a runner."""
    settings = {"SetEnv": f"SLURM_CONF={slurm / 'slurm.conf'}"}
    async with PrivateServer(
        login_shell="/bin/sh", max_sessions=MAX_SESSIONS, options=settings
    ) as server:
        place = replace(world, server=server)
        with tempfile.TemporaryDirectory(prefix="jobs", dir=world.directory) as files:
            options = ClusterOptions(scheduler="slurm", directory=f"{files}/jobs")
            async with place.manager(OURS, pool_size=2) as manager:
                server.register(manager, "slurm")
                runner = RemoteRunner(
                    manager, store=Path(files, "store"), clusters={"slurm": options}
                )
                async with runner:
                    await runner.submit("slurm", _held())
                    yield place, runner


def _held() -> Job:
    return Job(script="true", login_shell=False, resources=Resources(extra=["--hold"]))


async def _one_by_one(runner: RemoteRunner, count: int) -> None:
    for _ in range(count):
        await runner.submit("slurm", _held())


async def _in_one_go(runner: RemoteRunner, count: int) -> None:
    await runner.submit_many("slurm", [_held() for _ in range(count)])


async def _bare(world: World, socket: Path, line: str, count: int) -> None:
    for _ in range(count):
        await world.bare_run(socket, line)
