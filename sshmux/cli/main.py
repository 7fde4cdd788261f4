"""The command's entry point, and what all of its parts share."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import click

from .. import __version__
from . import formatting

_FAILED = 255
_COMMANDS = {
    "ls": "Show every connection in the control directory.",
    "run": "Run a command on a host, over a connection that stays.",
    "put": "Send files over a connection that stays.",
    "get": "Fetch files over a connection that stays.",
    "sync": "Run rsync over a connection that stays.",
    "submit": "Submit a job to a cluster.",
    "jobs": "Show the jobs that were submitted.",
    "tail": "Print what a job writes.",
    "wait": "Wait until jobs have ended.",
    "cancel": "End jobs.",
    "collect": "Fetch a job's outputs.",
    "queue": "Show all that a cluster's scheduler has.",
    "clusters": "Show and change the catalogue of clusters.",
    "forward": "Lead ports through a connection, until Ctrl-C.",
    "login": "Log in, answer questions, and leave the connection behind.",
    "password": "Store, forget or try a password.",
    "doctor": "Find out how a log-in goes, and why it does not.",
    "check": "Ask connections whether they work.",
    "stop": "End connections.",
    "completion": "Print a script that completes this command in your shell.",
}


class _Lazy(click.Group):
    """Loads a subcommand when it is used, so that each starts as fast as it can."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    import subprocess

    formatting.echo(f"sshmux {__version__}")
    try:
        done = subprocess.run(
            ["ssh", "-V"], capture_output=True, text=True, timeout=10, check=False
        )
        formatting.echo(f"ssh: {done.stderr.strip()}")
    except (OSError, subprocess.TimeoutExpired):
        formatting.echo("ssh: not found")
    context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The control directory, instead of $SSHMUX_DIR or the default.",
)
@click.option("-v", "--verbose", count=True, help="Log to stderr; twice for everything.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the versions of sshmux and ssh.",
)
def cli(directory: Path | None, verbose: int) -> None:
    """Look at, use and end the ControlMaster connections of sshmux.

    \b
    sshmux run cluster -- squeue --me     run a command; the log-in is kept for the next one
    sshmux ls                             what connections are there
    sshmux check                          do they work
    sshmux stop cluster                   end one
    """
    if directory is not None:
        os.environ["SSHMUX_DIR"] = str(directory)
    _log(verbose)


def _log(verbose: int) -> None:
    """Warnings as words of the command; with -v everything, with times."""
    lines = "%(relativeCreated)6d ms %(name)s: %(message)s" if verbose else "sshmux: %(message)s"
    handler = logging.StreamHandler()
    handler.setFormatter(formatting.LogFormatter(lines))
    level = logging.WARNING if not verbose else logging.INFO if verbose == 1 else logging.DEBUG
    logging.basicConfig(level=level, handlers=[handler])


def main() -> int:
    """Runs the command; its exit status. Errors of ours are one line and 255, as ssh's are."""
    from ..errors import Error
    from ..system.inherited import open_standard_streams

    open_standard_streams()
    status: int | str | None = 0
    try:
        cli(prog_name="sshmux")
    except SystemExit as ended:
        status = ended.code
    except Error as error:
        formatting.echo(f"sshmux: {error}", err=True)
        status = _FAILED
    except OSError as error:
        status = _cannot_write(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _cannot_write(error)
    return status if isinstance(status, int) else _FAILED if status else 0


def _cannot_write(error: OSError) -> int:
    """The status when our output goes nowhere; a reader that has left (`| head`) is no news."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain at its end
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    with contextlib.suppress(OSError):
        formatting.echo(f"sshmux: {error.strerror or error}", err=True)
    return _FAILED
