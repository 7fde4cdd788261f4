"""Jobs on a real Slurm, private to these tests, behind a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ClusterOptions, Job, JobState, Reason, RemoteRunner, Resources
from sshmux.runner.compat import SLURMJobConfig, SLURMRunner
from sshmux.testing import PrivateServer

from ..clusters import Slurm
from ..support import managed, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=[True, False], ids=["accounting", "none"])
def slurm(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    directory = Path(tempfile.mkdtemp(prefix="sxs"))
    one = Slurm(directory, accounting=request.param)
    one.start()
    try:
        yield one
    finally:
        one.stop()


@contextlib.asynccontextmanager
async def runner(slurm: Slurm, tmp_path: Path, **options: Any) -> AsyncIterator[RemoteRunner]:
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"), **{"min_interval": 1, **options})
    settings = {"SetEnv": f"SLURM_CONF={slurm.env['SLURM_CONF']}"}
    async with PrivateServer(login_shell="/bin/sh", options=settings) as server:
        async with managed(server, pool_size=2) as manager:
            made = RemoteRunner(manager, store=tmp_path / "store", clusters={1: cluster})
            async with made:
                yield made


def job(script: str, **more: Any) -> Job:
    return Job(script=script, login_shell=False, **more)


async def test_ends(slurm: Slurm, tmp_path: Path) -> None:
    """The table of ends: state, reason and exit code."""
    cases = {
        "well": (job("echo out; echo err >&2"), JobState.COMPLETED, "", 0),
        "badly": (job("exit 3"), JobState.FAILED, "", 3),
        "with 200": (job("exit 200"), JobState.FAILED, "", 200),
        "with 128": (job("exit 128"), JobState.FAILED, "", 128),
        "by a signal": (job("kill -9 $$"), JobState.FAILED, "", 137),
        "no program": (job("exec /no/such"), JobState.FAILED, "", 127),
    }
    async with runner(slurm, tmp_path) as jobs:
        handles = await jobs.submit_many(1, [each for each, *_ in cases.values()])
        assert all(handle.scheduler == "slurm" for handle in handles)
        ends = await asyncio.gather(*(jobs.wait(handle, 120) for handle in handles))
        for case, status in zip(cases, ends, strict=True):
            _, state, reason, code = cases[case]
            told = (status.state, status.reason, status.exit_code)
            assert told == (state, reason, code), (case, status)
            assert status.native_id is not None
        lines = [line.text async for line in jobs.output(handles[0])]
        assert lines == ["out"]
        assert [line.text async for line in jobs.output(handles[0], stream="stderr")] == ["err"]


async def test_cancelled_and_held(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path) as jobs:
        running, waiting = await jobs.submit_many(
            1,
            [
                job("sleep 1000"),
                job("true", resources=Resources(extra=["--hold"])),
            ],
        )
        held = await jobs.status(waiting)
        assert (held.state, held.reason) == (JobState.PENDING, Reason.HELD)
        while (await jobs.status(running)).state is not JobState.RUNNING:
            await asyncio.sleep(0.2)
        for handle in (running, waiting):
            status = await jobs.cancel(handle)
            assert status.state is JobState.CANCELLED, status


@pytest.mark.soak
async def test_a_time_limit(slurm: Slurm, tmp_path: Path) -> None:
    """Slurm's shortest limit is a minute, and it looks once a minute."""
    async with runner(slurm, tmp_path) as jobs:
        slow = await jobs.submit(1, job("sleep 1000", resources=Resources(time=60)))
        status = await jobs.wait(slow, 240)
        assert status.state is JobState.TIMEOUT, status


async def test_dependencies(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path) as jobs:
        good, bad = await jobs.submit_many(1, [job("sleep 1"), job("exit 1")])
        children = await jobs.submit_many(
            1,
            [
                job("true", after=[(good, "ok")]),
                job("true", after=[(bad, "ok")]),
                job("true", after=[(bad, "failed")]),
            ],
        )
        ends = [await jobs.wait(handle, 120) for handle in children[::2]]
        assert [end.state for end in ends] == [JobState.COMPLETED, JobState.COMPLETED]
        never = await jobs.wait(children[1], 60)  # Slurm would keep it for ever
        assert (never.state, never.reason) == (JobState.CANCELLED, Reason.DEPENDENCY_NEVER)
        late = await jobs.submit(1, job("true", after=[(bad, "ok")]))  # a parent that has ended
        status = await jobs.wait(late, 30)
        assert (status.state, status.reason) == (JobState.CANCELLED, Reason.DEPENDENCY_NEVER)


async def test_an_array(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path) as jobs:
        array = await jobs.submit(
            1, job("echo task $SSHMUX_TASK; [ $SSHMUX_TASK != 2 ]", array="1-3")
        )
        status = await jobs.wait(array, 120)
        assert (status.state, sorted(status.tasks)) == (JobState.FAILED, [1, 2, 3])
        states = {index: task.state for index, task in status.tasks.items()}
        assert states == {1: JobState.COMPLETED, 2: JobState.FAILED, 3: JobState.COMPLETED}
        assert [line.text async for line in jobs.output(array.task(3))] == ["task 3"]


async def test_refused_and_limited(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path, max_submitted=2) as jobs:
        with pytest.raises(sshmux.SubmitRefused, match="artition"):
            await jobs.submit(1, job("true", resources=Resources(partition="nowhere")))
        handles = await jobs.submit_many(1, [job("sleep 1; echo x >>../../runs") for _ in range(5)])
        reasons = [status.reason for status in (await jobs.statuses(handles)).values()]
        assert reasons.count(Reason.LIMIT) == 3
        async for status in jobs.as_completed(handles, 120):
            assert status.ok, status
    assert (tmp_path / "jobs" / "runs").read_text() == "x\n" * 5


async def test_the_queue_and_odd_names(slurm: Slurm, tmp_path: Path) -> None:
    name = "a|b 'c' \"d\" %j %x $(touch owned) `touch owned`\n#SBATCH --hold"
    async with runner(slurm, tmp_path) as jobs:
        handle = await jobs.submit(1, job("sleep 2", name=name))
        rows = await jobs.queue(1)
        assert handle.token in [row.name for row in rows]
        assert "main" in [each.name for each in await jobs.partitions(1)]
        details = await jobs.details(handle)
        assert details["JobName"] == handle.token
        assert (await jobs.wait(handle, 60)).name == name
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.soak
async def test_a_controller_that_does_not_answer(slurm: Slurm, tmp_path: Path) -> None:
    """sbatch gives up and says that it failed; its job runs all the same: once, and it is known."""
    controller = int((slurm.directory / "run" / "slurmctld.pid").read_text())
    async with runner(slurm, tmp_path) as jobs:
        await jobs.partitions(1)
        os.kill(controller, signal.SIGSTOP)
        try:
            submitting = asyncio.ensure_future(jobs.submit(1, job("echo x >>../../runs")))
            await until(lambda: list(tmp_path.glob("jobs/sm*/submit.rc")), 60)
        finally:
            os.kill(controller, signal.SIGCONT)
        (rc,) = tmp_path.glob("jobs/sm*/submit.rc")
        assert not rc.read_text().startswith("0 ")
        status = await jobs.wait(await submitting, 120)
        assert status.ok
    assert (tmp_path / "jobs" / "runs").read_text() == "x\n"


async def test_many_jobs_take_few_commands(slurm: Slurm, tmp_path: Path) -> None:
    async with runner(slurm, tmp_path, min_interval=2) as jobs:
        began = asyncio.get_running_loop().time()
        handles = await jobs.submit_many(1, [job(f"echo {n} >>../../runs") for n in range(40)])
        ended = [status async for status in jobs.as_completed(handles, 200)]
        took = asyncio.get_running_loop().time() - began
        assert all(status.ok for status in ended)
        commands = jobs._cluster(1).remote.commands
        assert commands <= 20 + took, (commands, took)
    runs = (tmp_path / "jobs" / "runs").read_text().split()
    assert sorted(map(int, runs)) == list(range(40))


async def test_the_old_names(slurm: Slurm, tmp_path: Path) -> None:
    """`SLURMRunner`, as programs of before use it."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "input.d12").write_text("MGO\n")
    config = SLURMJobConfig("mgo", cpus_per_task=2, memory="100MB", modules=[], exclusive=True)
    settings = {"SetEnv": f"SLURM_CONF={slurm.env['SLURM_CONF']}"}
    async with (
        PrivateServer(login_shell="/bin/sh", options=settings) as server,
        managed(server, pool_size=2) as manager,
        SLURMRunner(
            *(manager, 1, config, 1, tmp_path / "jobs"),
            command="sh -c 'cat; echo $OMP_NUM_THREADS'",
            store=tmp_path / "store",
        ) as jobs,
    ):
        first = await jobs.submit_job(1, work)
        _, native_id, _ = first.split(":", 2)
        second = await jobs.submit_job(
            2, work, threads=1, config=dataclasses.replace(config, dependencies=[native_id])
        )
        assert await jobs.get_status(second) in ("queued", "running", "completed")
        assert await jobs.wait_for_completion(first, timeout=60) == "completed"
        assert await jobs.wait_for_completion(second, timeout=60) == "completed"
        assert [line async for line in jobs.get_output(second)] == ["MGO", "1"]
        assert (await jobs.get_job_details(first))["NumCPUs"]
        assert "main" in [each["name"] for each in await jobs.get_partition_info()]
        assert isinstance(await jobs.get_queue_status("main"), list)
        result = await jobs.retrieve_results(first, work)
        assert result.success
        assert (work / "output.out").read_text() == "MGO\n2\n"
