"""rsync over the control socket."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence

from ..errors import ConfigError, TransferDenied, TransferError, TransferInterrupted
from ..openssh import argv
from ..session.completed import CompletedProcess
from ..session.link import Link
from ..system.processes import listen_to
from ..system.tasks import run_to_end
from .remote import Remote

# -e, --rsh and what may be left of it; also behind letters that take no value: -ave
_SHELL = re.compile(r"--rsh?(=|$)|-[a-zA-DF-LNO-SU-Z0-9]*e", re.ASCII)
# man rsync, EXIT VALUES
_LOST = {10, 12, 30, 35, 255}
_PARTIAL = {23, 24}


async def rsync(
    link: Link, remote: Remote, source: str, target: str, options: Sequence[str]
) -> CompletedProcess[str]:
    """See `Connection.rsync`."""
    if shutil.which("rsync") is None:
        raise ConfigError("rsync was not found on this machine: install it, or use put() and get()")
    if source.startswith(":") == target.startswith(":"):
        raise ConfigError(
            f"rsync({source!r}, {target!r}): exactly one side is on the remote; write it with a "
            'colon in front, as ":data/"'
        )
    for option in options:
        if _SHELL.match(option):
            raise ConfigError(
                f"rsync option {option!r}: rsync goes through this connection; leave it out"
            )
    asked = await remote.run(["sh", "-c", "command -v rsync >/dev/null"])
    if asked.status != 0:
        raise ConfigError(f"rsync was not found on {remote.address}: use put() and get()")
    words = argv.rsync(link.config.ssh_program, link.master.entry.socket, source, target, options)
    await link.gate.enter()
    try:
        done = await _run(words, source, target)
    finally:
        link.gate.leave()
    if done.exit_status != 0:
        raise _why(done, source, target, alive=link.usable)
    return done


async def _run(words: Sequence[str], source: str, target: str) -> CompletedProcess[str]:
    child, out, err = listen_to(words)
    with contextlib.closing(out), contextlib.closing(err):
        try:
            await child.wait()
            await out.ended()
            await err.ended()
        finally:
            if child.status is None:
                await run_to_end(child.end)
    status = child.status if child.status is not None else -1
    return CompletedProcess(f"rsync {source} {target}", status, out.text(), err.text())


def _why(done: CompletedProcess[str], source: str, target: str, *, alive: bool) -> TransferError:
    text = f"{source} to {target}: rsync says: {str(done.stderr).strip()} ({done.exit_status})"
    if done.exit_status in _LOST and not alive:
        return TransferInterrupted(text)
    if done.exit_status in _PARTIAL and "Permission denied" in str(done.stderr):
        return TransferDenied(text)
    return TransferError(text)
