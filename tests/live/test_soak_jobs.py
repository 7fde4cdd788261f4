"""A thousand jobs of Slurm and two hundred of a shell, while what they need is killed.

Some 60 and 20 in a soak of less than five minutes, as CI is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import sshmux
from sshmux import ClusterOptions, Job, JobHandle, JobState, JobStatus, RemoteRunner
from sshmux.testing import PrivateServer

from ..clusters import Slurm
from ..support import managed, until

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(1500)]

LONG = float(os.environ.get("SSHMUX_SOAK_SECONDS", "600")) >= 300
COUNTS = {"slurm": 1000, "shell": 200} if LONG else {"slurm": 60, "shell": 20}
AT_ONCE = 250  # jobs of one submit_many
STOPPED = 20.0  # seconds without a controller
MIN_INTERVAL = 5.0
LINES = 40
LOSSES = 3


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    one = Slurm(Path(tempfile.mkdtemp(prefix="sxs")), accounting=False)
    one.start()
    try:
        yield one
    finally:
        one.stop()


# What a job does at its end, and what is to be told of it.
ENDS = {
    "well": ("exit 0", JobState.COMPLETED, 0),
    "badly": ("exit 3", JobState.FAILED, 3),
    "by a signal": ("kill -9 $$", JobState.FAILED, 137),
}


def kind(number: int) -> str:
    return {3: "badly", 7: "by a signal"}.get(number % 20, "well")


def job(cluster: str, number: int) -> Job:
    """It says that it runs, in a file of all jobs; it has an output, and an end."""
    end, *_ = ENDS[kind(number)]
    script = (
        f"echo $SSHMUX_JOB {number} >>../../runs; i=0; "
        f'while [ $i -lt {LINES} ]; do i=$((i+1)); echo "line $i of {number}"; done; '
        f"sleep 0.{number % 10}; {end}"
    )
    return Job(script=script, name=f"{cluster} {number}", login_shell=False)


def runs(directory: Path) -> list[str]:
    try:
        return (directory / "runs").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []


class Submitter:
    """Submits jobs under keys, and the same again when something was lost meanwhile."""

    def __init__(self, runner: RemoteRunner, cluster: str) -> None:
        self.runner, self.cluster = runner, cluster
        self.calls = 0

    async def some(self, numbers: Sequence[int]) -> list[JobHandle]:
        jobs = [job(self.cluster, number) for number in numbers]
        keys = [f"{self.cluster}-{number}" for number in numbers]
        while True:
            self.calls += 1
            try:
                return await self.runner.submit_many(self.cluster, jobs, keys=keys)
            except (sshmux.DisconnectError, sshmux.ChannelOpenError, sshmux.TimeoutError):
                await asyncio.sleep(0.5)  # as a program does; the server is being started again

    async def all(self) -> list[JobHandle]:
        every = range(COUNTS[self.cluster])
        parts = [every[at : at + AT_ONCE] for at in range(0, len(every), AT_ONCE)]
        return [handle for part in parts for handle in await self.some(part)]


async def killed(server: PrivateServer) -> None:
    """SIGKILL for all that is sshd. What runs in its sessions is left to itself."""
    for process in server.processes():
        process.kill()
    await server.stop()


async def trouble(server: PrivateServer, slurm: Slurm, directory: Path) -> None:
    """Kills sshd three times, and stops Slurm's controller once."""
    count = COUNTS["slurm"]
    controller = int((slurm.directory / "run" / "slurmctld.pid").read_text())

    async def begun(share: float) -> None:
        await until(lambda: len(runs(directory / "slurm")) >= share * count, 600)

    await until(lambda: len(list((directory / "slurm").glob("sm*/submit.lock"))) > count / 20, 600)
    await killed(server)
    await server.start()
    await begun(0.1)
    os.kill(controller, signal.SIGSTOP)
    try:
        await asyncio.sleep(STOPPED)
    finally:
        os.kill(controller, signal.SIGCONT)
    await begun(0.4)
    await killed(server)
    await begun(0.41)  # jobs go on meanwhile
    await server.start()
    await begun(0.7)
    await killed(server)
    await server.start()


async def test_a_thousand_jobs(slurm: Slurm, tmp_path: Path) -> None:
    """Each runs once, each end is told rightly, each output is whole, for few commands."""
    options = {
        "slurm": ClusterOptions(
            directory=str(tmp_path / "slurm"), scheduler="slurm", min_interval=MIN_INTERVAL
        ),
        "shell": ClusterOptions(directory=str(tmp_path / "shell"), scheduler="shell"),
    }
    settings = {"SetEnv": f"SLURM_CONF={slurm.env['SLURM_CONF']}"}
    async with PrivateServer(login_shell="/bin/sh", options=settings) as server:
        async with managed(server, pool_size=2) as manager:
            for name in options:
                server.register(manager, name)
            async with RemoteRunner(manager, store=tmp_path / "store", clusters=options) as runner:
                began = time.monotonic()
                submitters = {name: Submitter(runner, name) for name in options}
                disturbing = asyncio.ensure_future(trouble(server, slurm, tmp_path))
                handles = dict(
                    zip(
                        submitters,
                        await asyncio.gather(*(each.all() for each in submitters.values())),
                        strict=True,
                    )
                )
                print(f"submitted after {time.monotonic() - began:.1f} s")
                every = [handle for some in handles.values() for handle in some]
                ended = {s.handle: s async for s in runner.as_completed(every, 1200)}
                took = time.monotonic() - began
                await disturbing
                for name, submitter in submitters.items():
                    commands = runner._cluster(name).remote.commands
                    print(f"{name}: {commands} commands, {took:.1f} s, {submitter.calls} calls")
                    # One a `min_interval`; a few for each call, and for each loss; and one every
                    # two seconds as long as it is not known whether a job was submitted.
                    asked = took / MIN_INTERVAL
                    assert commands <= 5 + 3 * submitter.calls + 3 * LOSSES + asked + STOPPED
                for name, some in handles.items():
                    check(tmp_path / name, some, ended)
                await outputs(runner, handles)


def check(directory: Path, handles: Sequence[JobHandle], ended: dict[JobHandle, JobStatus]) -> None:
    ran = Counter(runs(directory))
    assert ran == Counter(f"{each.token} {n}" for n, each in enumerate(handles))
    for number, handle in enumerate(handles):
        _, state, code = ENDS[kind(number)]
        status = ended[handle]
        assert (status.state, status.reason, status.exit_code) == (state, "", code), status


async def outputs(runner: RemoteRunner, handles: dict[str, list[JobHandle]]) -> None:
    gate = asyncio.Semaphore(8)

    async def whole(number: int, handle: JobHandle) -> None:
        async with gate:
            lines = [line.text async for line in runner.output(handle)]
        assert lines == [f"line {i} of {number}" for i in range(1, LINES + 1)], handle

    every = [pair for some in handles.values() for pair in enumerate(some)]
    await asyncio.gather(*(whole(*pair) for pair in every))
