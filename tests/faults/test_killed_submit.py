"""A program, or what it runs on the remote, is killed at each step of a submission.

Nothing is lost and nothing doubled, with a key and without one, on a plain host and on Slurm.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sshmux import ClusterOptions, ConnectionManager, Job, RemoteRunner
from sshmux.runner import launching, submission
from sshmux.runner.dialects.shell import Shell
from sshmux.runner.dialects.slurm import Slurm as SlurmDialect
from sshmux.testing import PrivateServer

from ..clusters import Slurm
from ..support import managed, processes, until

pytestmark = pytest.mark.timeout(400)

TEXT = "echo ran >>../../runs"
AT_ONCE = 4  # programs
LEAST = 12  # a step that there is at least: otherwise this test sees too few of them

# What the remote does for a submission, and where it is caught: before these words.
MARKS = {
    "unpacked": (launching, "_STAGE", '    [ -e "../$t" ] ||'),
    "in place": (launching, "_STAGE", '    [ ! -d "../$t/$t" ]'),
    "put into place": (launching, "_STAGE", "cd .. && rm -rf"),
    "not locked": (launching, "_LAUNCH", "    if mkdir submit.lock"),
    "locked": (launching, "_LAUNCH", 'echo "$at" >submit.lock/at\n    else'),
    "said when": (launching, "_LAUNCH", "    if [ -e shell ]"),
    "all submitted": (launching, "_LAUNCH", ": >>events\n"),
}
SHELL_MARKS = {
    "begun": (launching, "_LAUNCH", "        echo $! >submit.out"),
    "id told": (launching, "_LAUNCH", '        echo "0 $at"'),
    "end told": (launching, "_LAUNCH", "        return\n    fi\n    ( detach sh ./submit"),
}
SLURM_MARKS = {
    "submitted": (launching, "_LAUNCH", "    wait $!\n}"),
    "before sbatch": (launching, "_SUBMIT", "$t {command}"),
    "after sbatch": (launching, "_SUBMIT", "[ $s = 0 ] ||"),
}


def marked(name: str, text: str, word: str, act: str) -> str:
    assert text.count(word) == 1, name
    return text.replace(word, f"{act}\n{word}")


PROGRAM = """
import asyncio, os, signal, sys
from sshmux import ClusterOptions, ConnectionManager, Job, RemoteRunner
from sshmux.runner import launching, records, remote, staging

where, directory, config, alias, scheduler, jobs, store, key, text, part, word = sys.argv[1:]
count = None

def step():
    global count
    if count is not None:
        count += 1
        if str(count) == where:
            os.kill(os.getpid(), signal.SIGKILL)

def around(cls, name):
    method = getattr(cls, name)
    async def wrapped(self, *arguments, **more):
        step()
        result = await method(self, *arguments, **more)
        step()
        return result
    setattr(cls, name, wrapped)

around(records.Records, "do")
around(remote.Remote, "run")
if part:
    act = f"kill -9 {os.getpid()}; sleep 0.1\\n"
    setattr(launching, part, getattr(launching, part).replace(word, act + word))

async def main():
    global count
    async with ConnectionManager(control_dir=directory) as manager:
        manager.register_cluster(1, alias, config_file=config, strict_host_key_checking="config")
        options = ClusterOptions(directory=jobs, scheduler=scheduler)
        async with RemoteRunner(manager, store=store, clusters={1: options}) as runner:
            job = Job(script=text, login_shell=False)
            count = 0
            await runner.submit(1, job, key=key or None)
            count = None
asyncio.run(main())
"""


class Place:
    """A cluster, and programs that are killed while they submit to it."""

    def __init__(
        self,
        server: PrivateServer,
        manager: ConnectionManager,
        scheduler: str,
        base: Path,
        control: Path,
    ) -> None:
        self.server, self.manager, self.scheduler, self.base = server, manager, scheduler, base
        self.control = control  # the programs' control directories are in there

    def runner(self, directory: Path) -> RemoteRunner:
        options = ClusterOptions(
            directory=str(directory / "jobs"), scheduler=self.scheduler, min_interval=0.5
        )
        return RemoteRunner(self.manager, store=directory / "store", clusters={1: options})

    async def killed(
        self, where: object, key: str, *, part: str = "", word: str = ""
    ) -> tuple[bool, Path]:
        """Runs one of them: whether it was killed, and what it leaves."""
        directory = self.base / f"{where}".replace(" ", "-")
        directory.mkdir()
        words = [where, self.control / f"c{abs(hash(where)) % 10**6}", self.server.config_file]
        words += [self.server.alias, self.scheduler, directory / "jobs", directory / "store"]
        words += [key, TEXT, part, word]
        # A file: what it leaves behind may hold its stderr for a while.
        with (directory / "stderr").open("wb") as told:
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, *map(str, words), stderr=told
            )
        status = await program.wait()
        assert status in (0, -signal.SIGKILL), (directory / "stderr").read_text()
        return status != 0, directory

    async def goes_on(self, directory: Path, key: str) -> None:
        """Another program finds what there is, and goes on with it."""
        runs = directory / "jobs" / "runs"
        async with self.runner(directory) as runner:
            job = Job(script=TEXT, login_shell=False)
            if key:
                handle = await runner.submit(1, job, key=key)
            else:
                await runner.recover()
                known = await runner.list()
                if not known:  # it was killed before it had written down what it meant to do
                    assert not runs.exists()
                    return
                (handle,) = (status.handle for status in known)
            status = await runner.wait(handle, 90)
            assert status.ok, (directory, status)
        assert runs.read_text() == "ran\n", directory


@pytest.fixture(
    scope="module", params=["shell", pytest.param("slurm", marks=pytest.mark.root)], ids=str
)
def scheduler(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    if request.param == "shell":
        yield "shell", {}
        return
    one = Slurm(Path(tempfile.mkdtemp(prefix="sxs")), accounting=False)
    one.start()
    try:
        yield "slurm", {"SetEnv": f"SLURM_CONF={one.env['SLURM_CONF']}"}
    finally:
        one.stop()


@contextlib.asynccontextmanager
async def place(scheduler: tuple[str, dict[str, str]], base: Path) -> AsyncIterator[Place]:
    name, options = scheduler
    with tempfile.TemporaryDirectory(prefix="sx") as control:
        async with PrivateServer(login_shell="/bin/sh", options=options) as server:
            async with managed(server) as manager:
                yield Place(server, manager, name, base, Path(control))
        # Masters of killed programs stay for a while, and end with the server.
        await until(lambda: not processes(control))


KEYS = ["", "again"]
WAYS = [(scheduler, key) for scheduler in ("shell", "slurm") for key in KEYS]


@pytest.fixture(
    params=[False, pytest.param(True, marks=pytest.mark.soak)], ids=["one in four", "all"]
)
def moments(
    request: pytest.FixtureRequest, key: str, scheduler: tuple[str, dict[str, str]]
) -> slice:
    """Of the moments, each in one of the four ways; scripts/soak kills at all of them in each."""
    return slice(None) if request.param else slice(WAYS.index((scheduler[0], key)), None, len(WAYS))


@pytest.mark.parametrize("key", KEYS)
async def test_the_program_is_killed_at_each_step(
    key: str, moments: slice, scheduler: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    """Before and after each thing that it writes down, and each command that it runs."""
    steps = iter(range(1, 1000)[moments])
    async with place(scheduler, tmp_path) as here:

        async def one(number: int) -> bool:
            killed, directory = await here.killed(number, key)
            await here.goes_on(directory, key)
            if killed:
                last.append(number)
            return killed

        last: list[int] = []
        while all(await asyncio.gather(*(one(next(steps)) for _ in range(AT_ONCE)))):
            pass
        assert max(last) >= LEAST, last
    for runs in tmp_path.glob("*/jobs/runs"):  # none has begun once more meanwhile
        assert runs.read_text() == "ran\n", runs


def marks(scheduler: str) -> dict[str, tuple[object, str, str]]:
    return {**MARKS, **(SHELL_MARKS if scheduler == "shell" else SLURM_MARKS)}


@pytest.mark.parametrize("key", KEYS)
async def test_the_program_is_killed_while_the_remote_works(
    key: str, moments: slice, scheduler: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    """At each thing that its command does on the remote."""
    async with place(scheduler, tmp_path) as here:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, part: str, word: str) -> None:
            assert getattr(launching, part).count(word) == 1, name
            async with gate:
                killed, directory = await here.killed(name, key, part=part, word=word)
                assert killed, name
                await here.goes_on(directory, key)

        found = list(marks(here.scheduler).items())[moments]
        await asyncio.gather(*(one(name, *rest) for name, (_, *rest) in found))
    for runs in tmp_path.glob("*/jobs/runs"):
        assert runs.read_text() == "ran\n", runs


@pytest.mark.soak
async def test_what_works_for_it_on_the_remote_is_killed(
    scheduler: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program lives, and finds out what became of its command. A lock is not for ever."""
    monkeypatch.setattr(submission, "SUBMIT_TIMEOUT", 2)
    monkeypatch.setattr(Shell, "acceptance_delay", 1.0)
    monkeypatch.setattr(SlurmDialect, "acceptance_delay", 1.0)
    async with place(scheduler, tmp_path) as here:
        for name, (_, part, word) in marks(here.scheduler).items():
            directory = tmp_path / name.replace(" ", "-")
            # Once; `0` is its process group: the whole command. (What was told as begun, and is
            # ended before it is detached, is LOST: so it is given the time.)
            flag = directory / "was here"
            told = here.scheduler == "shell" and name in ("end told", "all submitted")
            first = "until ls owner sm*/owner 2>/dev/null | grep -q .; do :; done; " if told else ""
            act = f"[ -e '{flag}' ] || {{ : >'{flag}'; {first}kill -9 0; }}\n"
            with monkeypatch.context() as patch:
                text = getattr(launching, part)
                patch.setattr(launching, part, text.replace(word, act + word))
                directory.mkdir()
                async with here.runner(directory) as runner:
                    job = Job(script=TEXT, login_shell=False)
                    with contextlib.suppress(Exception):
                        await runner.submit(1, job, key="k")
                    handle = await runner.submit(1, job, key="k")
                    status = await runner.wait(handle, 60)
                    assert status.ok, (name, status)
            assert flag.exists(), name
    for runs in tmp_path.glob("*/jobs/runs"):
        assert runs.read_text() == "ran\n", runs
