"""What a program may inherit from whoever starts it changes nothing that it is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sshmux.testing import PrivateServer

from ..support import control_directory, masters

PROGRAM = textwrap.dedent(
    """
    import asyncio, json, os, pathlib, sys
    from sshmux import ConnectionManager, ProcessTimeout

    async def main(report, engine, directory, host, port, user, key, known, config):
        async with ConnectionManager(1, engine=engine, control_dir=directory) as manager:
            manager.register_cluster(
                1, host, int(port), user, key, known_hosts_file=known, config_file=config,
            )
            told = {}
            async with manager.get_connection(1) as connection:
                told["status"] = (await connection.run("exit 3")).exit_status
                text = "in" * 40000
                told["out"] = (await connection.run("cat", input=text)).stdout == text
                try:
                    await connection.run("sleep 600", timeout=0.5)
                except ProcessTimeout as error:
                    told["timeout"] = "ended on the remote" in str(error)
                # A reader that leaves early.
                told["head"] = (await connection.run("head -c 1", input="x" * 3000000)).stdout
        print("the program's own output", flush=True) if sys.stdout else None
        os.umask(0o077)
        pathlib.Path(report).write_text(json.dumps(told))

    asyncio.run(main(*sys.argv[1:]))
    """
)


def child_ignored() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def blocked() -> None:
    every = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    signal.pthread_sigmask(signal.SIG_BLOCK, every)


def hang_up_ignored() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def private_umask() -> None:
    os.umask(0o777)


def open_umask() -> None:
    os.umask(0)


def no_directory() -> None:
    path = f"/tmp/gone.{os.getpid()}"
    os.mkdir(path)
    os.chdir(path)
    os.rmdir(path)


def closed(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for each in descriptors:
            os.close(each)

    close.__name__ = "closed-" + "-".join(map(str, descriptors))
    return close


STATES = (
    *(child_ignored, blocked, hang_up_ignored, private_umask, open_umask, no_directory),
    *(closed(0), closed(1), closed(2), closed(0, 1), closed(0, 1, 2)),
)


@pytest.mark.both_engines
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_a_program_with_odd_inheritance(
    state: Callable[[], None], engine: str, tmp_path: Path
) -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        told = await _program(state, engine, tmp_path, server, PROGRAM)
        assert told == {"status": 3, "out": True, "timeout": True, "head": "x"}


@pytest.mark.both_engines
async def test_sigpipe_that_ends_programs(engine: str, tmp_path: Path) -> None:
    """Such a program dies of its own broken pipes as it chose to, but not of ours."""
    program = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n" + PROGRAM
    async with PrivateServer(login_shell="/bin/sh") as server:
        told = await _program(lambda: None, engine, tmp_path, server, program)
        assert told == {"status": 3, "out": True, "timeout": True, "head": "x"}


async def test_an_exit_status_that_somebody_else_took_is_not_zero(tmp_path: Path) -> None:
    """By a handler of SIGCHLD, which always comes first; a thread that waits does not."""
    program = PROGRAM.replace(
        "async def main",
        "import signal\n"
        "def reap(*_):\n"
        "    try:\n"
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    except ChildProcessError: pass\n"
        "async def main",
    ).replace(
        'told["status"] =',
        'signal.signal(signal.SIGCHLD, reap); told["status"] =',
    )
    async with PrivateServer(login_shell="/bin/sh") as server:
        with pytest.raises(AssertionError, match="was taken by something else"):
            await _program(lambda: None, "ssh", tmp_path, server, program)


async def _program(
    state: Callable[[], None], engine: str, tmp_path: Path, server: PrivateServer, program: str
) -> object:
    report = tmp_path / "report"
    with control_directory() as directory:
        words = (report, engine, directory, server.host, server.port, server.username)
        files = (server.key_file, server.known_hosts_file, server.config_file)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, *map(str, (*words, *files))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=state,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert report.exists(), done.stderr
        assert masters(directory) == []
    return json.loads(report.read_text())
