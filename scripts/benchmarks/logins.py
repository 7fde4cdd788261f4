"""Log-ins that somebody answers, and those that go through a jump host."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from sshmux import ConnectionManager, Prompt
from sshmux.testing import PrivateServer

from .figures import BARE, OURS, Figure
from .measure import Contender, column
from .world import USUAL_KEY_EXCHANGE, World

_PASSWORD = "pw"
_BARE_JUMP = "bare ssh -J"
_NATIVE = "sshmux, jumping left to ssh"


async def log_ins(world: World) -> AsyncIterator[Figure]:
    """A key beside a helper that nobody asks, and a typed password; a jump, shared or ssh's own."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        typed = await enter(
            PrivateServer(
                login_shell=world.shell,
                password=_PASSWORD,
                methods="password",
                options=USUAL_KEY_EXCHANGE,
            )
        )
        far = await enter(PrivateServer(login_shell=world.shell, options=USUAL_KEY_EXCHANGE))
        config = _behind(world, far)
        plain = await enter(world.manager())
        native = await enter(world.manager(share_jump_hosts=False))
        asking = await enter(world.manager(prompter=_user))
        for manager in (plain, asking):
            world.server.register(manager, "key")
        typed.register(asking, "typed", key_file=None)
        for manager in (plain, native):
            manager.register_cluster("far", far.alias, config_file=config)
        numbers = count()
        turns: dict[str, Callable[[], Awaitable[None]]] = {
            BARE: lambda: _bare(world, next(numbers)),
            OURS: partial(_dial, plain, "key"),
            "sshmux with a prompter": partial(_dial, asking, "key"),
            "sshmux, a typed password": partial(_dial, asking, "typed"),
        }
        found = await world.race(_contenders(world, turns))
        yield Figure(
            "logins.answered",
            "dial and close, with somebody to answer",
            "ms",
            column(found, "each"),
            note="the helper that drives ssh's terminal is a Python of its own",
        )
        turns = {
            BARE: lambda: _bare(world, next(numbers)),
            OURS: partial(_dial, plain, "far"),
            _NATIVE: partial(_dial, native, "far"),
            _BARE_JUMP: partial(_bare_jump, config, far.alias),
        }
        found = await world.race(_contenders(world, turns))
        yield Figure(
            "logins.jump",
            "dial and close, through a jump host",
            "ms",
            column(found, "each"),
            note=f"{BARE} goes straight; {_BARE_JUMP} also runs a command",
        )


async def _user(prompt: Prompt) -> str:
    return _PASSWORD


def _behind(world: World, far: PrivateServer) -> Path:
    config = far.directory / "behind"
    config.write_text(
        f"Host {far.alias}\n    ProxyJump {world.server.alias}\nHost *\n"
        f"Include {world.server.config_file}\nInclude {far.config_file}\n"
    )
    return config


def _contenders(
    world: World, turns: dict[str, Callable[[], Awaitable[None]]]
) -> dict[str, Contender]:
    return {who: partial(_each, world.plan.dials, turn) for who, turn in turns.items()}


async def _each(times: int, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await work()
        took.append(time.perf_counter() - begun)
    return {"each": median(took)}


async def _dial(manager: ConnectionManager, cluster: str) -> None:
    async with await manager.connect(cluster):
        pass


async def _bare(world: World, number: int) -> None:
    await world.bare_leave(await world.bare_dial(f"login{number}"))


async def _bare_jump(config: Path, alias: str) -> None:
    line = ["ssh", "-F", str(config), "-o", "BatchMode=yes", alias, "true"]
    process = await asyncio.create_subprocess_exec(*line, stdin=subprocess.DEVNULL)
    await process.wait()
