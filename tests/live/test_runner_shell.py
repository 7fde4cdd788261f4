"""Jobs on a plain host: real processes behind a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import ClusterOptions, Job, JobState, Reason, RemoteRunner, Resources
from sshmux.testing import PrivateServer

from ..support import managed, nap, sleepers, until


@contextlib.asynccontextmanager
async def runner(
    tmp_path: Path, *, store: str = "store", pool_size: int = 2, **options: Any
) -> AsyncIterator[RemoteRunner]:
    """A runner for the cluster 1, which is this machine."""
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"), **options)
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=pool_size) as manager:
            made = RemoteRunner(manager, store=tmp_path / store, clusters={1: cluster})
            async with made:
                yield made


def script(text: str, **more: Any) -> Job:
    return Job(script=text, login_shell=False, **more)


# Ends

ENDS = {
    "well": ("true", JobState.COMPLETED, 0, None),
    "badly": ("exit 3", JobState.FAILED, 3, None),
    "with 200": ("exit 200", JobState.FAILED, 200, None),
    "by a signal": ("kill -9 $$", JobState.FAILED, 137, 9),
    "by its own TERM": ("kill -TERM $$", JobState.FAILED, 143, 15),
    "a program that is not there": ("exec /no/such/program", JobState.FAILED, 127, None),
}


async def test_ends(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        handles = await jobs.submit_many(1, [script(text) for text, *_ in ENDS.values()])
        for case, handle in zip(ENDS, handles, strict=True):
            _, state, code, number = ENDS[case]
            status = await jobs.wait(handle, 30)
            assert (status.state, status.exit_code, status.signal) == (state, code, number), case
            assert status.ended is not None
            assert status.started is not None
            assert status.submitted is not None
            assert status.submitted <= status.started + 1 <= status.ended + 2


async def test_limits(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        slow, hungry = await jobs.submit_many(
            1,
            [
                script(f"sleep {nap()}", resources=Resources(time=1)),
                Job(
                    argv=[sys.executable, "-c", "x = bytearray(2 * 10**9)"],
                    resources=Resources(memory="200M"),
                    login_shell=False,
                ),
            ],
        )
        assert (await jobs.wait(slow, 30)).state is JobState.TIMEOUT
        status = await jobs.wait(hungry, 30)
        assert status.state is JobState.FAILED
        assert "MemoryError" in status.stderr_tail or status.exit_code != 0


async def test_cancel_ends_all_of_it(tmp_path: Path) -> None:
    """Also what has left its session, and what ignores SIGTERM."""
    one, two, three = nap(), nap(), nap()
    text = f"trap '' TERM; setsid sleep {one} & nohup sleep {two} & sleep {three}; wait"
    async with runner(tmp_path) as jobs:
        handle = await jobs.submit(1, script(text))
        await until(lambda: all(map(sleepers, (one, two, three))))
        status = await jobs.cancel(handle, grace=0.5)
        assert status.state is JobState.CANCELLED
        assert not any(map(sleepers, (one, two, three)))
        assert (await jobs.cancel(handle)).state is JobState.CANCELLED


async def test_cancelled_while_the_login_files_are_read(tmp_path: Path) -> None:
    """The payload's own shell has not come to the payload yet, and is ended all the same."""
    home, long = tmp_path / "home", nap()
    home.mkdir()
    (home / ".bash_profile").write_text(f"sleep {long}\n")
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"))
    async with (
        PrivateServer(login_shell="/bin/sh", options={"SetEnv": f"HOME={home}"}) as server,
        managed(server) as manager,
        RemoteRunner(manager, store=tmp_path / "store", clusters={1: cluster}) as jobs,
    ):
        handle = await jobs.submit(1, Job(script="echo on >went_on"))
        await until(lambda: sleepers(long))
        status = await jobs.cancel(handle, grace=1)
        assert status.state is JobState.CANCELLED, status
        assert not sleepers(long)
        assert not list(tmp_path.rglob("went_on"))


@pytest.mark.parametrize("turn", range(5))
async def test_what_follows_the_command_that_is_ended_is_not_begun(
    turn: int, tmp_path: Path
) -> None:
    """All of a job's processes are signalled at once: the shell has no time to go on."""
    async with runner(tmp_path) as jobs:
        long = nap()
        wait = "while kill -0 $p 2>/dev/null; do :; done"
        text = f"sleep {long} & p=$!; sh -c 'p='$p'; {wait}; echo on >went_on' & wait"
        handle = await jobs.submit(1, script(text))
        await until(lambda: sleepers(long))
        status = await jobs.cancel(handle)
        assert (status.state, status.exit_code) == (JobState.CANCELLED, 143), (turn, status)
        assert not list(tmp_path.rglob("went_on"))


# What goes in, and comes out


async def test_inputs_environment_and_outputs(tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "f").write_bytes(b"\xff" * 100_000)
    (tmp_path / "run").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "run").chmod(0o755)
    job = Job(
        script='cat bytes; ./run; wc -c <tree/deep/f; echo "$A"; mkdir -p r/s; echo 1 >r/s/a.dat; '
        "echo 2 >b.dat; ln -s /etc/passwd link.dat; echo no >c.txt; echo $B",
        name="a 'name' with \"quotes\" | % \n and more",
        inputs={
            "bytes": b"from memory\n",
            "tree": tmp_path / "tree",
            "run": tmp_path / "run",
        },
        outputs=["**/*.dat"],
        env={"A": "one 'two' $three\nfour"},
        setup=["B=set-up; export B"],
        verify=True,
    )
    async with runner(tmp_path) as jobs:
        handle = await jobs.submit(1, job)
        status = await jobs.wait(handle, 30)
        assert status.ok, status
        lines = [line.text async for line in jobs.output(handle)]
        assert lines == [
            *("from memory", "ran", "100000", "one 'two' $three", "four", "set-up"),
        ]
        found = await jobs.collect(handle, tmp_path / "into")
        names = sorted(str(path.relative_to(tmp_path / "into")) for path in found)
        assert names == ["b.dat", "r/s/a.dat"]
        assert (tmp_path / "into" / "r" / "s" / "a.dat").read_text() == "1\n"
        assert sorted(os.listdir(tmp_path / "into")) == ["b.dat", "r"]
        everything = await jobs.collect(handle, tmp_path / "more", ["c.txt", "tree"])
        assert len(everything) == 2
        with pytest.raises(sshmux.JobError, match="no file fits"):
            await jobs.collect(handle, tmp_path / "none", ["nothing*"])
        with pytest.raises(sshmux.ConfigError, match="relative"):
            await jobs.collect(handle, tmp_path / "none", ["../x"])
        assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700
        await jobs.cleanup(handle)
        assert os.listdir(tmp_path / "jobs") == ["events"]
        with pytest.raises(sshmux.JobNotFound):
            await jobs.status(handle)


async def test_an_input_that_is_missing_submits_nothing(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        with pytest.raises(sshmux.ConfigError, match="inputs"):
            await jobs.submit(1, script("true", inputs=[tmp_path / "nothing"]))
        assert not [name for name in os.listdir(tmp_path / "jobs") if name.startswith("sm")]
        with pytest.raises(sshmux.ConfigError, match="array"):
            await jobs.submit(1, script("true", array="1-3"))


async def test_output_is_followed_over_lost_connections(tmp_path: Path) -> None:
    """Each line once, in order, whatever is killed; bytes that are no text, and progress bars."""
    text = (
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); printf 'line %d\\r half \\377\\n' $i; "
        "sleep 0.05; done; printf 'no end'"
    )
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"))
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, pool_size=2) as manager:
            async with RemoteRunner(
                manager, store=tmp_path / "store", clusters={1: cluster}
            ) as jobs:
                handle = await jobs.submit(1, script(text))
                lines: list[str] = []
                async for line in jobs.output(handle, follow=True):
                    lines.append(line.text)
                    if len(lines) in (10, 30):
                        server.drop_connections()
                        half = line.offset
                    if len(lines) == 20:
                        again = [each.text async for each in jobs.output(handle, offset=half)]
                        assert again[0].startswith("line 11\r")
    assert lines == [*(f"line {n}\r half \ufffd" for n in range(1, 61)), "no end"]


# Many, and in order


async def test_dependencies(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        good = await jobs.submit(1, script("sleep 0.3; echo first >>../../order"))
        bad = await jobs.submit(1, script("exit 1"))
        after = {
            "ok good": script("echo second >>../../order", after=[(good, "ok")]),
            "ok bad": script("echo never >>../../order", after=[(bad, "ok")]),
            "failed bad": script("true", after=[(bad, "failed")]),
            "any bad": script("true", after=[(bad, "any"), (good, "ok")]),
        }
        handles = dict(zip(after, await jobs.submit_many(1, after.values()), strict=True))
        ends = {name: await jobs.wait(handle, 30) for name, handle in handles.items()}
    assert {name: end.state for name, end in ends.items()} == {
        "ok good": JobState.COMPLETED,
        "ok bad": JobState.CANCELLED,
        "failed bad": JobState.COMPLETED,
        "any bad": JobState.COMPLETED,
    }
    assert ends["ok bad"].reason == Reason.DEPENDENCY_NEVER
    assert (tmp_path / "jobs" / "order").read_text() == "first\nsecond\n"


async def test_no_more_than_may_run(tmp_path: Path) -> None:
    count = "n=$(ls running 2>/dev/null | wc -l); echo $n >>seen"
    text = f"cd ../..; mkdir -p running; touch running/$$; {count}; sleep 0.3; rm running/$$"
    async with runner(tmp_path, max_running=2) as jobs:
        handles = await jobs.submit_many(1, [script(text) for _ in range(6)])
        states = [(await jobs.status(handle)).reason for handle in handles]
        assert states.count(Reason.LIMIT) >= 3
        async for status in jobs.as_completed(handles, 60):
            assert status.ok
    seen = [int(number) for number in (tmp_path / "jobs" / "seen").read_text().split()]
    assert len(seen) == 6
    assert max(seen) <= 2


async def test_a_hundred_followed_by_one_connection(tmp_path: Path) -> None:
    """They are followed together: neither one connection nor one session each."""
    async with runner(tmp_path, pool_size=1) as jobs:
        wanted = [script(f"sleep 0.{number % 10}; echo {number}") for number in range(100)]
        handles = await jobs.submit_many(1, wanted)
        started = time.monotonic()
        ended = [status async for status in jobs.as_completed(handles, 90)]
        assert all(status.ok for status in ended)
        assert len({status.handle for status in ended}) == 100
        assert jobs._cluster(1).remote.commands < 30 + 10 * (time.monotonic() - started)


# Other programs


async def test_another_program_finds_it(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        handle = await jobs.submit(1, script("sleep 0.5; echo done; exit 4"))
        text = str(handle)
        async with RemoteRunner(
            jobs._manager,
            store=tmp_path / "another",
            clusters={1: ClusterOptions(directory=str(tmp_path / "jobs"))},
        ) as other:
            found = await other.attach(text)
            assert found == handle
            status = await other.wait(found, 30)
            assert (status.state, status.exit_code) == (JobState.FAILED, 4)
            assert [line.text async for line in other.output(found)] == ["done"]
            with pytest.raises(sshmux.JobNotFound):
                await other.attach(text.replace(handle.token, "smaaaaaaaaaaaa"))
        (known,) = await jobs.list(refresh=True)
        assert known.exit_code == 4
        assert await jobs.attach(str(known.native_id)) == handle


async def test_a_key_is_submitted_once(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        job = script("echo ran >>../../runs; sleep 0.2")
        both = await asyncio.gather(*(jobs.submit(1, job, key="one") for _ in range(5)))
        assert len(set(both)) == 1
        await jobs.wait(both[0], 30)
        assert await jobs.submit(1, job, key="one") == both[0]
        with pytest.raises(sshmux.ConfigError, match="another job"):
            await jobs.submit(1, script("true"), key="one")
    assert (tmp_path / "jobs" / "runs").read_text() == "ran\n"


async def test_the_server_is_killed_while_jobs_run(tmp_path: Path) -> None:
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"))
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server) as manager:
            async with RemoteRunner(
                manager, store=tmp_path / "store", clusters={1: cluster}
            ) as jobs:
                wanted = [script(f"sleep 1; echo {n} >>../../runs") for n in range(10)]
                handles = await jobs.submit_many(1, wanted)
                waiting = [asyncio.ensure_future(jobs.wait(handle, 60)) for handle in handles]
                await asyncio.sleep(0.3)
                server.drop_connections()
                await asyncio.sleep(0.5)
                server.drop_connections()
                assert all(status.ok for status in await asyncio.gather(*waiting))
    runs = (tmp_path / "jobs" / "runs").read_text().split()
    assert sorted(map(int, runs)) == list(range(10))


async def test_subscribers_and_timeouts(tmp_path: Path) -> None:
    async with runner(tmp_path) as jobs:
        seen: list[JobState] = []
        end = jobs.subscribe(lambda status: seen.append(status.state))
        handle = await jobs.submit(1, script("sleep 1"))
        with pytest.raises(sshmux.TimeoutError, match="has not ended"):
            await jobs.wait(handle, 0.2)
        await jobs.wait(handle, 30)
        end()
        assert seen[-1] is JobState.COMPLETED
        with pytest.raises(sshmux.ConfigError, match="JobHandle"):
            await jobs.wait("no handle")  # type: ignore[arg-type]


async def test_a_remote_that_takes_no_files(tmp_path: Path) -> None:
    """A full disk: it is told in the remote's words, after a few tries, and nothing is left."""
    (tmp_path / "bin").mkdir()
    tar = tmp_path / "bin" / "tar"
    tar.write_text("#!/bin/sh\necho 'tar: run: No space left on device' >&2\nexit 2\n")
    tar.chmod(0o755)
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"))
    options = {"SetEnv": f"PATH={tmp_path}/bin:{os.environ['PATH']}"}
    async with (
        PrivateServer(login_shell="/bin/sh", options=options) as server,
        managed(server) as manager,
        RemoteRunner(manager, store=tmp_path / "store", clusters={1: cluster}) as jobs,
    ):
        with pytest.raises(sshmux.SubmitRefused, match="No space left"):
            await jobs.submit(1, script("true"))
        assert jobs._cluster(1).remote.commands < 20
    assert [name for name in os.listdir(tmp_path / "jobs") if name != "events"] == []
