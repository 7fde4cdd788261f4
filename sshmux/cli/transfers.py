"""What `sshmux put`, `get` and `sync` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import click

from ..connection import Connection
from ..manager import ConnectionManager
from ..session.link import ENGINES
from ..text import one_line
from . import formatting, target

F = TypeVar("F", bound=Callable[..., Any])
Progress = Callable[[str, str, int, int], object]

_CONNECTION = (
    click.option(
        "--persist",
        default=600,
        show_default=True,
        metavar="SECONDS",
        help="How long the connection stays after its last use; 0: not at all.",
    ),
    click.option(
        "--engine",
        type=click.Choice(list(ENGINES)),
        default="ssh",
        show_default=True,
        help="How sessions get to the master: by `ssh -S`, or by its protocol (mux).",
    ),
    click.option("--batch", is_flag=True, help="Never ask for a password or code."),
)
_MOVING = (
    click.option("-r", "--recurse", is_flag=True, help="Take directories."),
    click.option("--preserve", is_flag=True, help="Keep permissions and times."),
    click.option("--resume", is_flag=True, help="Go on with one that was interrupted."),
    click.option("--verify", is_flag=True, help="Compare checksums (SHA-256)."),
    click.option("--parents", is_flag=True, help="Make the directories that are missing."),
    click.option(
        "--exclude",
        multiple=True,
        metavar="PATTERN",
        help="Leave out what fits, such as '*.o' or 'build/'. May be given several times.",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Take only files that fit. May be given several times.",
    ),
    click.option(
        "--streams",
        type=click.IntRange(1, 64),
        default=1,
        metavar="N",
        help="Move one large file over N sessions at once: for long ways.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show nothing but errors."),
    click.option("--json", "as_json", is_flag=True, help="Print what was moved, as JSON."),
)


def connection_options(function: F) -> F:
    """Of every command that uses a connection."""
    for option in reversed(_CONNECTION):
        function = option(function)
    return target.options(function)


def moving_options(function: F) -> F:
    """Of put and get."""
    for option in reversed(_MOVING):
        function = option(function)
    return connection_options(function)


def on_connection(
    host: str, settings: dict[str, Any], work: Callable[[Connection], Awaitable[int]]
) -> int:
    """Does it with a connection that stays. Ctrl-C ends it, tidily."""
    prompter = None if settings.pop("batch") else target.terminal()
    persist, engine = settings.pop("persist"), settings.pop("engine")
    manager = ConnectionManager(pool_size=1, engine=engine, persist=persist, prompter=prompter)
    manager.register_cluster(host, config=target.config(host, settings))

    async def main() -> int:
        async with manager, manager.get_connection(host) as connection:
            return await work(connection)

    return target.until_signalled(main())


def move(
    host: str,
    settings: dict[str, Any],
    mover: Callable[[Connection], Callable[..., Awaitable[Any]]],
    sources: tuple[str, ...],
    place: str,
) -> int:
    """Moves, shows how far it is, and says at the end what was moved."""
    names = ("recurse", "preserve", "resume", "parents", "exclude", "include", "streams")
    how = {name: settings.pop(name) for name in names}
    how["verify"] = "sha256" if settings.pop("verify") else None
    quiet, as_json = settings.pop("quiet"), settings.pop("as_json")

    async def work(connection: Connection) -> int:
        with ExitStack() as shown:
            progress = None
            if sys.stderr.isatty() and not quiet:
                progress = shown.enter_context(_Bars())
            given: Any = sources[0] if len(sources) == 1 else list(sources)
            result = await mover(connection)(given, place, progress=progress, **how)
        if as_json:
            formatting.echo(
                json.dumps(
                    {
                        "moved": list(result.moved),
                        "files": result.files,
                        "bytes": result.bytes,
                        "seconds": round(result.seconds, 3),
                    }
                )
            )
        return 0

    return on_connection(host, settings, work)


class _Bars:
    """A bar for each file, or stream of files, on the terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            *(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
            console=Console(stderr=True),
        )
        self._tasks: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self._tell

    def _tell(self, source: str, place: str, done: int, total: int) -> None:
        key = source, place
        if key not in self._tasks:
            name = one_line(source)[-40:]
            self._tasks[key] = self._bars.add_task(name, total=total or None)
        self._bars.update(self._tasks[key], completed=done, total=total or None)

    def __exit__(self, *_: object) -> None:
        self._bars.stop()
