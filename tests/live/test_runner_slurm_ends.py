"""Ends that take a Slurm of their own, and minutes: out of memory, a lost node, preemption.

The others are in test_runner_slurm.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sshmux import JobState, Reason, RemoteRunner, Resources
from sshmux.runner.handle import JobHandle

from ..clusters import Slurm
from .test_runner_slurm import job, runner

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(400)]


@pytest.fixture
def slurm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    monkeypatch.setenv("CGROUP", request.param)
    one = Slurm(Path(tempfile.mkdtemp(prefix="sxs")), accounting=False)
    one.start()
    try:
        yield one
    finally:
        one.stop()


async def begun(jobs: RemoteRunner, *handles: JobHandle) -> None:
    for handle in handles:
        while (await jobs.status(handle)).state is not JobState.RUNNING:
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("slurm", ["v1"], indirect=True)
async def test_out_of_memory(slurm: Slurm, tmp_path: Path) -> None:
    """Whatever the script makes of it, and inside of srun, where Slurm only tells a status of 1."""
    eater = "python3 -c 'x = bytearray(400 << 20)'"
    scripts = (f"exec {eater}", f"{eater}; exit 0", f"srun {eater}")
    async with runner(slurm, tmp_path) as jobs:
        wanted = [job(script, resources=Resources(memory="100M")) for script in scripts]
        handles = await jobs.submit_many(1, wanted)
        for handle in handles:
            status = await jobs.wait(handle, 120)
            told = (status.state, status.reason)
            assert told == (JobState.FAILED, Reason.OUT_OF_MEMORY), status


@pytest.mark.parametrize("slurm", ["none"], indirect=True)
async def test_a_lost_node(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path) as jobs:
        node = Resources(extra=["--nodelist=n1"])
        handle = await jobs.submit(1, job("sleep 1000", resources=node))
        await begun(jobs, handle)
        daemon = int((slurm.directory / "run" / "slurmd-n1.pid").read_text())
        os.kill(daemon, signal.SIGKILL)
        for process in psutil.process_iter(["name", "environ"]):
            env = process.info["environ"] or {}
            if (
                process.info["name"] == "slurmstepd"
                and env.get("SLURM_CONF") == slurm.env["SLURM_CONF"]
            ):
                process.kill()
        status = await jobs.wait(handle, 180)
        assert (status.state, status.reason) == (JobState.FAILED, Reason.NODE_FAIL), status


@pytest.mark.parametrize("slurm", ["none"], indirect=True)
async def test_preempted(slurm: Slurm, tmp_path: Path) -> None:
    """One that may be run again is, some two minutes later; the other one has ended."""
    async with runner(slurm, tmp_path) as jobs:
        script = "echo x >>../../runs; [ -e ../../go ] || sleep 1000"
        places = [Resources(extra=["--exclusive", f"--nodelist={node}"]) for node in ("n1", "n2")]
        again, never = await jobs.submit_many(
            1,
            [
                job(script, resources=places[0], requeue=True),
                job("sleep 1000", resources=places[1]),
            ],
        )
        await begun(jobs, again, never)
        urgent = Resources(partition="urgent", nodes=2, extra=["--exclusive"])
        first = await jobs.submit(1, job("touch ../../go", resources=urgent))
        status = await jobs.wait(never, 60)
        assert (status.state, status.reason) == (JobState.CANCELLED, Reason.PREEMPTED), status
        while (status := await jobs.status(again)).reason != Reason.REQUEUED:
            assert status.state in (JobState.RUNNING, JobState.PENDING), status
            await asyncio.sleep(0.3)
        assert status.state is JobState.PENDING
        assert (await jobs.wait(first, 120)).ok
        status = await jobs.wait(again, 300)
        assert status.ok, status
        assert status.restarts == 1
    assert (tmp_path / "jobs" / "runs").read_text() == "x\n" * 2
