"""What the commands that log in share: how to say where to, and how to be ended."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from ..config import ConnectionConfig
from ..login.terminal import TerminalPrompter

SIGNALLED = 128  # and the number, as a shell says it

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-p", "--port", default=22, show_default=True, help="As ssh's -p; 22: default."),
    click.option("-l", "--user", help="As ssh's -l; or say user@host."),
    click.option("-i", "--identity", type=click.Path(path_type=Path), help="A private key."),
    click.option("-F", "--config", type=click.Path(path_type=Path), help="Another ssh_config."),
    click.option("-o", "options", multiple=True, metavar="NAME=VALUE", help="Any ssh option."),
    click.option("--timeout", default=30.0, show_default=True, help="Seconds for the log-in."),
)


def options(function: F) -> F:
    """The options that say where to; `config` makes something of them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def config(host: str, settings: dict[str, Any], **more: Any) -> ConnectionConfig:
    """The connection that the options describe."""
    return ConnectionConfig(
        host,
        port=settings["port"],
        username=settings["user"],
        key_file=settings["identity"],
        config_file=settings["config"],
        timeout=settings["timeout"],
        ssh_options={**_pairs(settings["options"]), **more},
    )


def _pairs(pairs: tuple[str, ...]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"-o {shlex.quote(pair)}: write NAME=VALUE.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def terminal() -> TerminalPrompter | None:
    """Somebody to ask, if there is a terminal and a user in front of it."""
    prompter = TerminalPrompter()
    return prompter if sys.stderr.isatty() and prompter.there else None


def until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Runs a command's work. Ctrl-C and the like cancel it, so that it tidies up."""
    ended_by: list[int] = []

    async def main() -> int:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def end(number: int) -> None:
            ended_by.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and shells' background
                loop.add_signal_handler(number, end, number)
        return await task

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        return SIGNALLED + (ended_by[0] if ended_by else signal.SIGINT)
