"""sshmux run"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from .. import errors
from ..connection import Command, Connection
from ..manager import ConnectionManager
from ..tasks import in_daemon_thread
from . import completion

_CHUNK = 64 * 1024
_SIGNALLED = 128  # and the number, as a shell says it


@click.command(
    "run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("host", shell_complete=completion.hosts)
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@click.option("-p", "--port", default=22, show_default=True, help="As ssh's -p; 22: the default.")
@click.option("-l", "--user", help="As ssh's -l; or say user@host.")
@click.option("-i", "--identity", type=click.Path(path_type=Path), help="A private key.")
@click.option("-F", "--config", type=click.Path(path_type=Path), help="Another ssh_config.")
@click.option("-o", "options", multiple=True, metavar="NAME=VALUE", help="Any ssh_config option.")
@click.option("-n", "--no-input", is_flag=True, help="Give the command no input.")
@click.option("-q", "--quote", is_flag=True, help="Quote each word for the shell over there.")
@click.option(
    "--persist",
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long the connection stays after its last use; 0: not at all.",
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for the log-in.")
def command(
    host: str,
    words: tuple[str, ...],
    options: tuple[str, ...],
    no_input: bool,
    quote: bool,
    persist: int,
    **settings: Any,
) -> None:
    """Run a command on a host, over a connection that stays.

    HOST is whatever `ssh HOST` takes: a name of ssh_config, user@host. The first run logs in;
    the next ones within --persist seconds use that connection, in milliseconds. Input, output and
    exit status are the command's own; 255 means that the connection failed, as with ssh.

    \b
    sshmux run cluster -- squeue --me
    sshmux run cluster -- 'cd work && ls | wc -l'
    tar c data | sshmux run cluster -- tar x -C /scratch/me
    sshmux run -q cluster -- touch 'a file with spaces'

    Several words are joined with spaces, as ssh does, and read by the shell over there; with -q
    each arrives as it is.
    """
    if words[0] == "--":
        words = words[1:]
    if not words:
        raise click.UsageError("Give a COMMAND after the HOST.")
    line: Command = list(words) if quote else " ".join(words)
    register = {
        "host": host,
        "port": settings["port"],
        "username": settings["user"],
        "key_file": settings["identity"],
        "config_file": settings["config"],
        "timeout": settings["timeout"],
        "ssh_options": _options(options),
    }
    manager = ConnectionManager(pool_size=1, persist=persist)
    manager.register_cluster(host, **register)
    sys.exit(_run(manager, host, line, no_input))


def _options(pairs: tuple[str, ...]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"-o {shlex.quote(pair)}: write NAME=VALUE.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _run(manager: ConnectionManager, host: str, line: Command, no_input: bool) -> int:
    ended_by: list[int] = []

    async def main() -> int:
        task = asyncio.ensure_future(_session(manager, host, line, no_input))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, _end, task, ended_by, number)
        return await task

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        return _SIGNALLED + (ended_by[0] if ended_by else signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does: no news, and nothing more to write.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _SIGNALLED + signal.SIGPIPE


def _end(task: asyncio.Task[int], ended_by: list[int], number: int) -> None:
    ended_by.append(number)
    task.cancel()


async def _session(manager: ConnectionManager, host: str, line: Command, no_input: bool) -> int:
    async with manager, manager.get_connection(host) as connection:
        return await _relay(connection, line, no_input)


async def _relay(connection: Connection, line: Command, no_input: bool) -> int:
    """Runs the command between our own streams.

    stdin goes through a pipe: what a master is given becomes non-blocking in there, and our own
    stdin is somebody else's too.
    """
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stdin = -1 if no_input else _pump_stdin()
    try:
        running = asyncio.ensure_future(
            connection.relay(
                line,
                stdin=None if stdin < 0 else stdin,
                stdout=lambda data: _write(1, data, broken),
                stderr=lambda data: _write(2, data, broken),
            )
        )
        try:
            await asyncio.wait((running, broken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait((running,))
        if broken.done():
            raise BrokenPipeError
        return running.result()
    finally:
        if stdin >= 0:
            os.close(stdin)


def _pump_stdin() -> int:
    """A pipe with what comes on our stdin, filled by a thread; -1 when stdin is closed."""
    try:
        os.fstat(0)
    except OSError:
        return -1
    reading, writing = os.pipe()

    def pump() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, _CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(writing, view) :]
        os.close(writing)

    in_daemon_thread(pump)
    return reading


def _write(fd: int, data: bytes, broken: asyncio.Future[None]) -> None:
    """Writes all of it, waiting where the terminal is slow: there is nothing else to do."""
    view = memoryview(data)
    while view and not broken.done():
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody made our output non-blocking
            select.select([], [fd], [])
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise errors.Error(f"cannot write the output: {error.strerror}") from error
            broken.set_result(None)
