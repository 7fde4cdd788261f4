"""sshmux run"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import sys
from typing import Any

import click

from .. import errors
from ..connection import Command, Connection
from ..manager import ConnectionManager
from ..session.link import ENGINES
from ..system.tasks import in_daemon_thread
from . import completion, target

_CHUNK = 64 * 1024


@click.command(
    "run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("host", shell_complete=completion.hosts)
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@target.options
@click.option("-n", "--no-input", is_flag=True, help="Give the command no input.")
@click.option("-q", "--quote", is_flag=True, help="Quote each word for the remote shell.")
@click.option(
    "--persist",
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long the connection stays after its last use; 0: not at all.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="ssh",
    show_default=True,
    help="How the command gets to the master: by `ssh -S`, or by its protocol (mux).",
)
@click.option("--batch", is_flag=True, help="Never ask for a password or code on the terminal.")
def command(
    host: str,
    words: tuple[str, ...],
    no_input: bool,
    quote: bool,
    persist: int,
    engine: str,
    batch: bool,
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

    Several words are joined with spaces, as ssh does, and read by the remote shell; with -q
    each arrives as it is.
    """
    if words[0] == "--":
        words = words[1:]
    if not words:
        raise click.UsageError("Give a COMMAND after the HOST.")
    line: Command = list(words) if quote else " ".join(words)
    prompter = None if batch else target.terminal()
    manager = ConnectionManager(pool_size=1, engine=engine, persist=persist, prompter=prompter)
    manager.register_cluster(host, config=target.config(host, settings))
    sys.exit(_run(manager, host, line, no_input))


def _run(manager: ConnectionManager, host: str, line: Command, no_input: bool) -> int:
    try:
        return target.until_signalled(_session(manager, host, line, no_input))
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does: no news, and nothing more to write.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return target.SIGNALLED + signal.SIGPIPE


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
            broken.result()
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
            if error.errno in (errno.EPIPE, errno.EIO):
                broken.set_exception(BrokenPipeError())
            else:
                told = f"cannot write the output: {error.strerror}: the command was ended"
                broken.set_exception(errors.Error(told))
