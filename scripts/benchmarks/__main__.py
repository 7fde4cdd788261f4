"""scripts/bench: every subject in turn, then one table, and JSON for machines."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from . import logins, memory, pool, sessions, startup
from .figures import Figure, show
from .world import PLANS, Plan, World, open_world

SUBJECTS: dict[str, Callable[[World], AsyncIterator[Figure]]] = {
    "run": sessions.sequential,
    "dial": pool.dialling,
    "logins": logins.log_ins,
    "borrow": pool.lending,
    "queue": pool.queueing,
    "clusters": pool.fan_out,
    "parallel": sessions.parallel,
    "bulk": sessions.bulk,
    "import": startup.startup,
    "memory": memory.memory,
}


def machine(world: World) -> dict[str, Any]:
    """What the figures depend on; nothing that tells whose machine it is."""
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "openssh": re.sub(r"^OpenSSH_(\S+).*$", r"\1", said.strip(), flags=re.DOTALL).rstrip(","),
        "python": platform.python_version(),
        "asyncssh": importlib.metadata.version("asyncssh") if world.has_asyncssh else None,
        "login_shell": world.shell,
    }


async def measure(console: Console, plan: Plan, names: list[str]) -> dict[str, Any]:
    figures: list[Figure] = []
    load = os.getloadavg()[0]
    async with open_world(plan) as world:
        about = machine(world)
        for name in names:
            begun = time.monotonic()
            with console.status(f"{name} …"):
                figures += [figure async for figure in SUBJECTS[name](world)]
            console.print(f"[dim]{name}: measured in {time.monotonic() - begun:.0f} s[/]")
    show(console, figures)
    console.print(
        f"{about['processors']} processors, {about['system']} {about['architecture']}, OpenSSH "
        f"{about['openssh']}, Python {about['python']}, asyncssh {about['asyncssh'] or 'missing'}, "
        f"login shell {about['login_shell']}; {plan.rounds} rounds; load before: {load:.1f}",
        highlight=False,
    )
    return {
        "plan": plan.name,
        "machine": about,
        "load_before": load,
        "figures": [figure.as_json() for figure in figures],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", const="quick", dest="plan")
    size.add_argument("--full", action="store_const", const="full", dest="plan")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "subjects", metavar="SUBJECT", nargs="*", help=f"of {', '.join(SUBJECTS)}; default: all"
    )
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.subjects if name not in SUBJECTS]:
        parser.error(f"no subject {unknown[0]!r}: use some of {', '.join(SUBJECTS)}")

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    plan = PLANS[chosen.plan or "default"]
    found = asyncio.run(measure(console, plan, chosen.subjects or list(SUBJECTS)))
    if chosen.json:
        target = Path(os.environ.get("SSHMUX_BENCH_CWD", "."), chosen.json)
        target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    missed = [each["title"] for each in found["figures"] if each["met"] is False]
    for title in missed:
        console.print(f"[bold red]not met:[/] {title}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
