"""Jobs on a real Grid Engine, private to these tests, behind a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ClusterOptions, Job, JobState, Reason, RemoteRunner, Resources
from sshmux.testing import PrivateServer

from ..clusters import GridEngine
from ..support import managed, until

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def sge() -> Iterator[GridEngine]:
    one = GridEngine(Path(tempfile.mkdtemp(prefix="sxg")))
    one.start()
    try:
        yield one
    finally:
        one.stop()


@contextlib.asynccontextmanager
async def runner(
    sge: GridEngine, tmp_path: Path, home: Path | None = None, **options: Any
) -> AsyncIterator[RemoteRunner]:
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"), **{"min_interval": 1, **options})
    env = sge.env if home is None else {**sge.env, "HOME": str(home)}
    settings = {"SetEnv": " ".join(f"{name}={value}" for name, value in env.items())}
    async with (
        PrivateServer(login_shell="/bin/sh", options=settings) as server,
        managed(server, pool_size=2) as manager,
        RemoteRunner(manager, store=tmp_path / "store", clusters={1: cluster}) as made,
    ):
        yield made


def job(script: str, **more: Any) -> Job:
    return Job(script=script, login_shell=False, **more)


async def begun(jobs: RemoteRunner, handle: sshmux.JobHandle) -> None:
    while (await jobs.status(handle)).state is not JobState.RUNNING:
        await asyncio.sleep(0.1)


async def test_ends(sge: GridEngine, tmp_path: Path) -> None:
    """The table of ends; 99 and 100 would be "run me again" and "error state"."""
    cases = {
        "well": (job("echo out; echo err >&2"), JobState.COMPLETED, 0, None),
        "badly": (job("exit 3"), JobState.FAILED, 3, None),
        "with 99": (job("exit 99"), JobState.FAILED, 99, None),
        "with 100": (job("exit 100"), JobState.FAILED, 100, None),
        "with 200": (job("exit 200"), JobState.FAILED, 200, None),
        "by a signal": (job("kill -9 $$"), JobState.FAILED, 137, 9),
        "no program": (job("exec /no/such"), JobState.FAILED, 127, None),
    }
    async with runner(sge, tmp_path) as jobs:
        handles = await jobs.submit_many(1, [each for each, *_ in cases.values()])
        assert all(handle.scheduler == "sge" for handle in handles)
        ends = await asyncio.gather(*(jobs.wait(handle, 120) for handle in handles))
        for case, status in zip(cases, ends, strict=True):
            told = (status.state, status.exit_code, status.signal)
            assert told == cases[case][1:], (case, status)
            assert status.native_id is not None
        lines = [line.text async for line in jobs.output(handles[0])]
        assert lines == ["out"]
        runs = sge.command("qacct", "-j", "sm????????????").count("jobnumber")
        assert runs == len(cases)  # none was run again


async def test_cancelled_held_and_put_aside(sge: GridEngine, tmp_path: Path) -> None:
    """qdel kills at once, and leaves nothing of what has not begun."""
    async with runner(sge, tmp_path) as jobs:
        running, waiting, hopeless = await jobs.submit_many(
            1,
            [
                job("sleep 1000"),
                job("true", resources=Resources(extra=["-h"])),
                job("true", resources=Resources(extra=["-wd", "/no/such/directory"])),
            ],
        )
        held = await jobs.status(waiting)
        assert (held.state, held.reason) == (JobState.PENDING, Reason.HELD)
        while (aside := await jobs.status(hopeless)).reason != Reason.ERROR:
            await asyncio.sleep(0.2)
        assert aside.state is JobState.PENDING
        assert "/no/such/directory" in aside.message
        await begun(jobs, running)
        for handle in (running, waiting, hopeless):
            status = await jobs.cancel(handle)
            assert status.state is JobState.CANCELLED, status


async def test_a_job_that_somebody_else_ends(sge: GridEngine, tmp_path: Path) -> None:
    async with runner(sge, tmp_path) as jobs:
        handle = await jobs.submit(1, job("sleep 1000"))
        await begun(jobs, handle)
        sge.command("qdel", (await jobs.status(handle)).native_id or "")
        status = await jobs.wait(handle, 120)
        assert (status.state, status.signal) == (JobState.FAILED, 9), status


async def test_a_time_limit(sge: GridEngine, tmp_path: Path) -> None:
    async with runner(sge, tmp_path) as jobs:
        slow = await jobs.submit(1, job("sleep 1000", resources=Resources(time=2)))
        status = await jobs.wait(slow, 240)
        assert status.state is JobState.TIMEOUT, status


async def test_dependencies(sge: GridEngine, tmp_path: Path) -> None:
    """Grid Engine waits for an end, whatever it is: the job itself looks how it was."""
    async with runner(sge, tmp_path) as jobs:
        wait = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; "
        good, bad, killed, array = await jobs.submit_many(
            1,
            [
                job(wait),
                job(wait + "exit 1"),
                job(wait + "kill -9 $PPID $$"),
                job(wait + "[ $SSHMUX_TASK = 1 ]", array="1-2"),
            ],
        )
        wanted = {
            ((good, "ok"),): True,
            ((good, "failed"),): False,
            ((good, "any"), (bad, "any")): True,
            ((bad, "ok"),): False,
            ((bad, "failed"), (killed, "failed")): True,
            ((killed, "ok"),): False,
            ((array, "ok"),): False,
            ((array.task(1), "ok"), (array.task(2), "failed")): True,
        }
        children = await jobs.submit_many(1, [job("true", after=list(after)) for after in wanted])
        while (waiting := await jobs.status(children[0])).reason != Reason.DEPENDENCY:
            assert waiting.state is JobState.PENDING
            await asyncio.sleep(0.2)
        (tmp_path / "go").touch()
        ends = [await jobs.wait(handle, 120) for handle in children]
        for after, end in zip(wanted, ends, strict=True):
            never = (JobState.CANCELLED, Reason.DEPENDENCY_NEVER)
            told = (end.state, end.reason)
            assert told == ((JobState.COMPLETED, "") if wanted[after] else never), after
        late = await jobs.submit(1, job("true", after=[(bad, "ok")]))  # a parent that has ended
        assert (await jobs.wait(late, 30)).reason == Reason.DEPENDENCY_NEVER


async def test_an_array(sge: GridEngine, tmp_path: Path) -> None:
    script = "echo task $SSHMUX_TASK; [ $SSHMUX_TASK != 6 ] || sleep 1000; [ $SSHMUX_TASK != 4 ]"
    async with runner(sge, tmp_path) as jobs:
        array = await jobs.submit(1, job(script, array="2-6:2%2"))
        while (await jobs.status(array.task(6))).state is not JobState.RUNNING:
            await asyncio.sleep(0.2)
        await jobs.cancel(array.task(6))
        status = await jobs.wait(array, 120)
        states = {index: task.state for index, task in status.tasks.items()}
        assert states == {2: JobState.COMPLETED, 4: JobState.FAILED, 6: JobState.CANCELLED}
        assert [line.text async for line in jobs.output(array.task(2))] == ["task 2"]


async def test_what_it_has_no_word_for(sge: GridEngine, tmp_path: Path) -> None:
    async with runner(sge, tmp_path) as jobs:
        for odd in ({"array": "0-3"}, {"array": "1,2,5"}, {"resources": Resources(gpus=1)}):
            with pytest.raises(sshmux.ConfigError, match=r"Grid Engine"):
                await jobs.submit_many(1, [job("true"), job("true", **odd)])
        assert await jobs.list() == []  # nothing was begun, of the good one neither
        with pytest.raises(sshmux.SubmitRefused, match="queue"):
            await jobs.submit(1, job("true", resources=Resources(partition="nowhere.q")))


async def test_the_queue_and_odd_names(sge: GridEngine, tmp_path: Path) -> None:
    name = "a|b 'c' \"d\" $JOB_ID &lt; <state>Eqw</state> $(touch owned)\n#$ -h"
    resources = Resources(cpus_per_task=2, memory="1G", time="10:00", partition="main.q")
    async with runner(sge, tmp_path) as jobs:
        handle = await jobs.submit(1, job("sleep 2", name=name, resources=resources))
        rows = await jobs.queue(1)
        assert handle.token in [row.name for row in rows]
        places = {each.name: each for each in await jobs.partitions(1)}
        assert (places["main.q"].available, places["main.q"].details["slots"]) == (True, "8")
        details = await jobs.details(handle)
        assert details["job_name"] == handle.token
        assert details["hard resource_list"] == "h_rt=600,h_vmem=512M"
        assert (await jobs.wait(handle, 60)).name == name
    assert not list(tmp_path.rglob("owned"))


async def test_the_defaults_of_the_account_change_nothing(sge: GridEngine, tmp_path: Path) -> None:
    """Files of options that qsub and qstat read by themselves."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".sge_request").write_text("-sync y -now y -N other -j n -S /bin/csh -r y -terse\n")
    (home / ".sge_qstat").write_text("-s z -u nobody\n")
    async with runner(sge, tmp_path, home) as jobs:
        handle = await jobs.submit(1, job("echo out; sleep 1"))
        assert handle.token in [row.name for row in await jobs.queue(1)]
        assert (await jobs.wait(handle, 60)).ok


async def test_a_queue_master_that_does_not_answer(sge: GridEngine, tmp_path: Path) -> None:
    """No verdict comes of it; and what is submitted meanwhile runs once."""
    master = int((sge.directory / "run" / "qmaster.pid").read_text())
    async with runner(sge, tmp_path) as jobs:
        first = await jobs.submit(1, job("echo x >>../../runs; sleep 3"))
        await begun(jobs, first)
        os.kill(master, signal.SIGSTOP)
        try:
            submitting = asyncio.ensure_future(jobs.submit(1, job("echo x >>../../runs")))
            await until(lambda: len(list(tmp_path.glob("jobs/sm*/submit.lock"))) == 2)
            assert not (await jobs.list())[0].final
        finally:
            os.kill(master, signal.SIGCONT)
        second = await submitting
        assert (await jobs.wait(first, 120)).ok
        assert (await jobs.wait(second, 120)).ok
    assert (tmp_path / "jobs" / "runs").read_text() == "x\nx\n"
