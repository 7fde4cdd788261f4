"""A limit for what a remote sends into a file here: it may send without end."""

from __future__ import annotations

import asyncio
import os

from ..errors import SourceChanged
from . import reports
from .remote import Remote, ScriptResult

UNTOLD = 64 * 1024 * 1024  # bytes of a file that says it has none, as those in /proc do
_PAUSE = 0.25  # seconds between two looks


async def fetch(
    remote: Remote, command: list[str], file: int, what: str, *, bounded: bool
) -> ScriptResult:
    """Runs GET into a file; ends it once that is larger than was told, and cuts the rest off.

    The session writes to the file by itself, so now and then it is looked at.

    Parameters:
        bounded: False for a file that may grow meanwhile.

    Raises `SourceChanged` for what goes on and on.
    """
    if not bounded:
        return await remote.run(command, stdout=file)
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None
    size: int | None = None
    most, excess = UNTOLD, 0

    def hear(said: ScriptResult) -> None:
        nonlocal size, most
        size = reports.number(said.words.get("size", "").partition(" ")[0])
        # An archive of a file with holes is smaller; if it has very many, perhaps not.
        most = (size or UNTOLD) + UNTOLD * ("holes" in said.words)

    def look() -> None:
        nonlocal excess, timer
        if os.fstat(file).st_size > most:
            excess += 1
        if excess > (size is None):  # what is told of it may be on its way
            limit.reschedule(loop.time())
        else:
            timer = loop.call_later(_PAUSE, look)

    timer = loop.call_later(_PAUSE, look)
    try:
        async with asyncio.timeout(None) as limit:
            return await remote.run(command, stdout=file, heard=hear)
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        timer.cancel()
    os.ftruncate(file, size or 0)
    raise SourceChanged(
        f"{what}: more than the {size or 0} bytes arrived that it should have: it grows, or the "
        'remote sends without end (on_change="accept" takes what comes)'
    )
