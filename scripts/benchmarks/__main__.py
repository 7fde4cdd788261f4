"""scripts/bench: every subject in turn, then one table, JSON for machines, and a plot."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from . import (
    bulk,
    dials,
    files,
    health,
    jobs,
    logins,
    markdown,
    memory,
    plot,
    pool,
    sessions,
    shells,
    startup,
    wan,
)
from .figures import OWN, Figure
from .limits import raise_descriptor_limit
from .peers import PEERS
from .table import show
from .world import MEMORY, PLANS, Plan, World, open_world

SUBJECTS: dict[str, Callable[[World], AsyncIterator[Figure]]] = {
    "run": sessions.sequential,
    "parallel": sessions.parallel,
    "shell": shells.open_shells,
    "small": sessions.small,
    "dial": dials.dialling,
    "logins": logins.log_ins,
    "borrow": pool.lending,
    "queue": pool.queueing,
    "clusters": pool.fan_out,
    "health": health.sweep,
    "bulk": bulk.into_memory,
    "file": bulk.into_file,
    "upload": bulk.from_memory,
    "copy": files.in_bulk,
    "many": files.many_small,
    "sftp": files.by_sftp,
    "lines": files.lines,
    "wan": wan.long_way,
    "jobs": jobs.jobs,
    "import": startup.startup,
    "memory": memory.memory,
}
TELLING = ("run", "parallel", "dial", "borrow", "health", "bulk", "file")  # for --quick


@dataclass
class Run:
    """What is found on the way."""

    console: Console
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    own_failures: bool = False

    async def measure(self, world: World, name: str) -> None:
        def failed(who: str, error: Exception) -> None:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            why = f"{type(error).__name__}: {error}"
            self.failures.append(f"{who} took no part in {name}: {why}")
            self.own_failures |= who in OWN

        world.on_failure = failed
        begun = time.monotonic()
        with self.console.status(f"{name} …"):
            try:
                async for figure in SUBJECTS[name](world):
                    self.figures.append(figure)
            except Exception as error:
                self.failures.append(f"{name} could not be measured: {error!r}")
                self.own_failures = True
        self.console.print(f"[dim]{name}: measured in {time.monotonic() - begun:.0f} s[/]")


def machine(world: World) -> dict[str, Any]:
    """What the figures depend on; nothing that tells whose machine it is."""
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "files": "in memory" if world.directory.is_relative_to(MEMORY) else "on a disk",
        "processors": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "openssh": re.sub(r"^OpenSSH_(\S+).*$", r"\1", said.strip(), flags=re.DOTALL).rstrip(","),
        "python": platform.python_version(),
        "peers": {name: world.installed.get(name) for name in PEERS},
        "engines": list(world.engines.values()),
        "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "login_shell": world.shell,
    }


async def measure(console: Console, plan: Plan, names: list[str]) -> tuple[dict[str, Any], Run]:
    run = Run(console)
    load = os.getloadavg()[0]
    async with open_world(plan) as world:
        about = machine(world)
        for name, peer in PEERS.items():
            if name not in world.installed:
                console.print(f"[yellow]{name} is missing.[/] For it: {peer.how}", soft_wrap=True)
        for who in OWN:
            if who not in world.engines:
                console.print(f"[yellow]{who} is left out:[/] this sshmux has no such engine")
        for name in names:
            await run.measure(world, name)
    found = {
        "plan": plan.name,
        "machine": about,
        "load_before": load,
        "figures": [figure.as_json() for figure in run.figures],
        "failures": run.failures,
    }
    return found, run


def tell(run: Run, found: dict[str, Any], rounds: int) -> None:
    show(run.console, run.figures)
    about = found["machine"]
    peers = ", ".join(f"{name} {version or 'missing'}" for name, version in about["peers"].items())
    parts = (
        f"{about['processors']} processors, {about['system']} {about['architecture']}",
        f"OpenSSH {about['openssh']}, login shell {about['login_shell']}",
        f"Python {about['python']}, event loop {about['event_loop']}",
        peers,
        f"{rounds} rounds, fewer of what takes seconds",
        f"files {about['files']}",
        f"load before: {found['load_before']:.1f}",
    )
    run.console.print("; ".join(parts))
    for failure in run.failures:
        run.console.print(f"[bold red]failed:[/] {failure}", soft_wrap=True)
    for figure in run.figures:
        for verdict in figure.verdicts():
            if verdict.met is False:
                value = "" if verdict.found is None else f" (found: {verdict.found:.3g})"
                run.console.print(f"[bold red]not met:[/] {figure.title}: {verdict.goal}{value}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick",
        action="store_const",
        const="quick",
        dest="plan",
        help=f"3 rounds; unless subjects are named, of {', '.join(TELLING)}",
    )
    size.add_argument("--full", action="store_const", const="full", dest="plan", help="15 rounds")
    parser.add_argument(
        "--uvloop", action="store_true", help="in place of asyncio's own event loop"
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default="",
        help="where the files are, with a short path; default: in memory, where there is room",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios there, as SVG")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables of the documents")
    parser.add_argument(
        "--from", metavar="FILE", dest="source", help="measure nothing: use what --json wrote"
    )
    parser.add_argument(
        "subjects", metavar="SUBJECT", nargs="*", help=f"of {', '.join(SUBJECTS)}; default: all"
    )
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.subjects if name not in SUBJECTS]:
        parser.error(f"no subject {unknown[0]!r}: use some of {', '.join(SUBJECTS)}")
    if chosen.source and not (chosen.plot or chosen.markdown):
        parser.error("--from is for --plot and --markdown")
    return chosen


def event_loop(quick: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    if not quick:
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def where(name: str) -> Path:
    """A file of the caller's, whose directory this is not."""
    return Path(os.environ.get("SSHMUX_BENCH_CWD", "."), name)


def draw(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    if chosen.plot:
        plot.write(where(chosen.plot), found)
    if chosen.markdown:
        markdown.write(where(chosen.markdown), found)


def main() -> int:
    chosen = arguments()
    if chosen.source:
        draw(chosen, json.loads(where(chosen.source).read_text("utf-8")))
        return 0
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    raise_descriptor_limit()
    plan = replace(PLANS[chosen.plan or "default"], directory=chosen.directory)
    names = chosen.subjects or list(TELLING if plan.name == "quick" else SUBJECTS)
    with asyncio.Runner(loop_factory=event_loop(chosen.uvloop)) as runner:
        found, run = runner.run(measure(console, plan, names))
    tell(run, found, plan.rounds)
    if chosen.json:
        where(chosen.json).write_text(
            json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
    draw(chosen, found)
    return 1 if run.own_failures else 0


if __name__ == "__main__":
    sys.exit(main())
