"""Runs the remote scripts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..errors import ConnectionLost, Error, TransferError, TransferInterrupted
from ..openssh.remote import needs_shell
from ..session.execution import ExecutionOptions, Scope
from ..session.link import Link
from ..system.tasks import run_to_end
from ..text import logger
from . import reports, scripts

log = logger("sshmux.transfer")

_KEPT = 64 * 1024  # bytes of stderr, from its end
_MOST_TOLD = 64 * 1024 * 1024  # bytes of names that a script may tell
_TIDYING = 10.0  # seconds


@dataclass(frozen=True)
class ScriptResult:
    """What came of a script."""

    status: int
    stderr: str

    @property
    def words(self) -> dict[str, str]:
        """What it reported."""
        return reports.report(self.stderr)[0]

    @property
    def names(self) -> list[str]:
        """The paths that it told, whatever is in them."""
        report_progress = self.stderr.partition(f"{scripts.MARK} names\n")[2]
        return report_progress.lstrip("\n").split("\0")[:-1]


class Remote:
    """One connection, for transfers."""

    def __init__(self, link: Link, scope: Scope) -> None:
        self._link = link
        self._scope = scope

    @property
    def link(self) -> Link:
        """The link that it is."""
        return self._link

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return self._scope

    @property
    def address(self) -> str:
        """Where it leads."""
        return self._link.config.address

    async def run(
        self,
        words: list[str],
        *,
        stdin: int | None = None,
        stdin_most: int | None = None,
        stdout: int | Callable[[bytes], object] | None = None,
        heard: Callable[[ScriptResult], object] | None = None,
    ) -> ScriptResult:
        """Runs a script; its stdin and stdout are descriptors, which stay the caller's.

        Parameters:
            stdin_most: so many bytes of stdin only, from where it is.
            heard: called with what it has reported so far, in whole lines and names, as it comes.
        """
        self._scope.check()
        said = bytearray()

        def hear(data: bytes) -> None:
            said.extend(data)
            del said[:-_KEPT]
            if heard is not None:
                whole = max(said.rfind(b"\n"), said.rfind(b"\0")) + 1
                heard(ScriptResult(-1, os.fsdecode(bytes(said[:whole]))))

        request = ExecutionOptions("", stdin=stdin, stderr=hear, live=heard is not None)
        request.stdin_most = stdin_most
        if stdout is not None:
            request.stdout = stdout
        if needs_shell(words, None):
            await self._link.learn_shell()
        request.line = self._link.line(words, None, None)
        try:
            status = await self._link.execute(request, self._scope)
        except ConnectionLost as error:
            lost = TransferInterrupted(str(error))
            lost.started = error.started
            raise lost from error
        return ScriptResult(status, os.fsdecode(bytes(said)))

    async def output(self, words: list[str]) -> tuple[ScriptResult, bytes]:
        """Runs a script for what it writes, which is little. Raises `TransferError` for much."""
        told = bytearray()
        too_much = False

        def take(data: bytes) -> None:
            nonlocal too_much
            if len(told) + len(data) <= _MOST_TOLD:
                told.extend(data)
            elif not too_much:
                too_much = True
                running.cancel()

        running = asyncio.ensure_future(self.run(words, stdout=take))
        try:
            return await running, bytes(told)
        except asyncio.CancelledError:
            if not too_much:
                raise
        raise TransferError(
            f"{self.address}: the remote tells more than {_MOST_TOLD} bytes of names"
        )

    async def tidy(self, *parts: str) -> None:
        """Removes what is left on the remote. Whatever happens meanwhile; never raises an error.

        Parameters:
            parts: as UNPACK told of them; "" behind the name of a single file.
        """
        await run_to_end(partial(self._tidy, parts))

    async def _tidy(self, parts: tuple[str, ...]) -> None:
        request = ExecutionOptions(self._link.line(scripts.words(scripts.DROP, *parts), None, None))
        try:
            async with asyncio.timeout(_TIDYING):
                await self._link.execute(request, Scope())
        except (Error, OSError) as error:
            log.warning(
                "%s: %s could not be removed: %s", self.address, ", ".join(parts[::2]), error
            )


@contextlib.contextmanager
def removed(path: str) -> Iterator[None]:
    """Removes a file here, if the block fails."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
