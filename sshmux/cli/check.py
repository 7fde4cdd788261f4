"""sshmux check"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from ..config import ConnectionConfig
from ..openssh import argv
from ..openssh.control.directory import ControlDir
from ..system.processes import Captured, capture
from . import completion, formatting, inventory, target

_NO_SUCH = 3


@dataclass
class Verdict:
    """What a check found; times in seconds."""

    item: inventory.Item
    ok: bool = False
    problem: str = ""
    master_seconds: float | None = None
    command_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return {
            "name": self.item.name,
            "target": self.item.record.address if self.item.record else None,
            "ok": self.ok,
            "problem": self.problem or None,
            "master_seconds": self.master_seconds,
            "command_seconds": self.command_seconds,
        }


@click.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.names)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds for each of the two.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects.")
def command(names: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Ask connections whether they work: the master, then a remote command.

    NAME is a connection's name, a cluster or a target, as `sshmux ls` shows them, or a pattern
    ('hpc*'). Without one, all are checked. Nothing is ever dialled.

    Exit status: 0 when all work, 1 when one does not (a log-in that is under way counts as
    neither), 3 when a NAME means nothing.
    """
    items = inventory.read(ControlDir())
    unmatched: list[str] = []
    if names:
        items, unmatched = inventory.select(items, names)
    verdicts: list[Verdict] = []
    status = target.until_signalled(_check_all(items, timeout, verdicts))
    if status:
        sys.exit(status)
    if as_json:
        formatting.echo(json.dumps([verdict.to_json() for verdict in verdicts], indent=2))
    elif verdicts or not unmatched:
        _show(verdicts)
    for name in unmatched:
        formatting.echo(f"sshmux: no connection is called {name!r}: see `sshmux ls`", err=True)
    failed = not all(verdict.ok or verdict.item.state == "dialling" for verdict in verdicts)
    sys.exit(_NO_SUCH if unmatched else int(failed))


async def _check_all(items: list[inventory.Item], timeout: float, found: list[Verdict]) -> int:
    found += await asyncio.gather(*(_check(item, timeout) for item in items))
    return 0


async def _check(item: inventory.Item, timeout: float) -> Verdict:
    verdict = Verdict(item)
    if item.state in ("stale", "dialling", "elsewhere"):
        verdict.problem = item.state
        return verdict
    socket = item.entry.socket
    line = argv.session(ConnectionConfig(host="x"), socket, "true")
    verdict.master_seconds, problem = await _timed(argv.control("ssh", socket, "check"), timeout)
    if not problem:
        verdict.command_seconds, problem = await _timed(line, timeout)
    verdict.ok, verdict.problem = not problem, problem
    return verdict


async def _timed(line: list[str], timeout: float) -> tuple[float, str]:
    started = time.monotonic()
    try:
        result = await capture(line, timeout=timeout)
    except TimeoutError:
        return time.monotonic() - started, f"no answer within {timeout:g} s"
    return time.monotonic() - started, _problem(result)


def _problem(result: Captured) -> str:
    if result.status == 0:
        return ""
    words_of_ssh = result.stderr.strip().splitlines()
    return words_of_ssh[0] if words_of_ssh else f"exit status {result.status}"


def _show(verdicts: list[Verdict]) -> None:
    if not verdicts:
        formatting.echo("No connections to check.")
        return
    table = formatting.Table("NAME", "TARGET", "RESULT", ">MASTER", ">COMMAND")
    for verdict in verdicts:
        table.add(
            verdict.item.name,
            verdict.item.record.address if verdict.item.record else "-",
            formatting.styled("works", "green")
            if verdict.ok
            else formatting.styled(verdict.problem, "red"),
            _milliseconds(verdict.master_seconds),
            _milliseconds(verdict.command_seconds),
        )
    table.show()


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.0f} ms"
