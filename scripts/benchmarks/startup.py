"""What a fresh interpreter needs to be ready, and to say how it is used."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from functools import partial

from .figures import ASYNCSSH, OURS, Figure, Goal
from .measure import Contender, Stopwatch
from .world import World

_PYTHON = "python -c pass"
_ASYNCIO = "import asyncio"
_IMPORT = "import sshmux"
_MANAGER = "from sshmux import ConnectionManager; ConnectionManager(control_dir='unused')"
_FOREIGN = ("click", "rich", "textual", "typer", "asyncssh", "keyring", "pexpect")


async def startup(world: World) -> AsyncIterator[Figure]:
    """Imports, each in an interpreter of its own; the files are in the system's cache."""
    lines: dict[str, Sequence[str]] = {
        _PYTHON: ("-c", "pass"),
        "package": ("-c", _IMPORT),
        OURS: ("-c", _MANAGER),
        _ASYNCIO: ("-c", "import asyncio"),
    }
    if world.has_asyncssh:
        lines[ASYNCSSH] = ("-c", "import asyncssh")
    if await _status("-m", "sshmux", "--help") == 0:
        lines["help"] = ("-m", "sshmux", "--help")
    turns: dict[str, Contender] = {who: partial(_timed, line) for who, line in lines.items()}
    found = await world.race(turns, rounds=max(5, world.plan.rounds), warm_up=2)
    loaded = await _foreign_modules()
    for key, title in (
        ("seconds", "import sshmux and make a ConnectionManager, less an empty Python"),
        ("cpu", "processor time of that: what the clock says when nothing else runs"),
    ):
        net = {who: columns[key].minus(found[_PYTHON][key]) for who, columns in found.items()}
        yield Figure(
            f"import.{key}",
            title,
            "ms",
            {who: net[who] for who in (OURS, _ASYNCIO, ASYNCSSH) if who in net},
            (Goal(100),),
            facts={"no CLI, TUI, keyring or peer library comes along": not loaded},
            note=f"it loads {', '.join(loaded)}" if loaded else "60 ms is better",
        )
    net_package = found["package"]["cpu"].minus(found[_PYTHON]["cpu"])
    yield Figure("import.package", "import sshmux alone, processor time", "ms", {OURS: net_package})
    for key, title, ours in (
        ("import.whole", "the whole process that makes a ConnectionManager", OURS),
        ("cli.help", "the whole process of python -m sshmux --help", "help"),
    ):
        if ours in found:
            values = {OURS: found[ours]["seconds"], _PYTHON: found[_PYTHON]["seconds"]}
            yield Figure(key, title, "ms", values)


async def _timed(arguments: Sequence[str]) -> dict[str, float]:
    with Stopwatch() as watch:
        status = await _status(*arguments)
    if status != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return {"seconds": watch.cost.seconds, "cpu": watch.cost.child_cpu}


async def _status(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    return await process.wait()


async def _foreign_modules() -> list[str]:
    code = f"import json, sys; {_MANAGER}; print(json.dumps(sorted(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=DEVNULL, stdout=PIPE
    )
    stdout, _ = await process.communicate()
    modules = json.loads(stdout)
    return [name for name in _FOREIGN if name in modules]
