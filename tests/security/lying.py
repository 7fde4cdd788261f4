"""A real sshd whose sessions run a program of the test's in place of what they are asked for."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

from sshmux import Connection
from sshmux.testing import PrivateServer

from ..support import managed

# What the programs have: `command`, as it was asked for; `announce()` and `report(words)`, as our
# scripts write them; `honest()`, which does what was asked for.
_PROLOGUE = """
import io, os, re, sys, tarfile, time
command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
out, err = sys.stdout.buffer, sys.stderr.buffer

def announce():
    token = re.search("sshmux-[0-9a-f]{12}", command)
    if token:
        shell = " /bin/sh" if "PPID" in command else ""
        err.write(f"{token[0]} {os.getpid()}{shell}\\n".encode())
        err.flush()

def report(words):
    err.write(f"\\nsshmux-transfer {words}\\n".encode("utf-8", "surrogateescape"))
    err.flush()

def honest():
    os.execv("/bin/sh", ["sh", "-c", command])

def tells(data):
    if "k=d" in command:
        announce()
        out.write(data)
        out.flush()
        sys.exit(0)

def archive(members, format=tarfile.GNU_FORMAT):
    if "tar -cf" not in command and "c=-cf" not in command:
        return
    announce()
    report("pack")
    with tarfile.open(fileobj=out, mode="w|", format=format) as made:
        for name, data, how in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            for key, value in how.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))
    out.flush()
    sys.exit(0)
"""


class Liar:
    """A connection to such a server, and what its sessions run; at its end that is honest."""

    def __init__(self, connection: Connection, script: Path) -> None:
        self.connection = connection
        self._script = script

    def runs(self, program: str) -> None:
        """What sessions run from now on."""
        lines = (f"#!{sys.executable}", _PROLOGUE, textwrap.dedent(program), "honest()", "")
        new = self._script.with_suffix(".new")
        new.write_text("\n".join(lines), "utf-8")
        new.chmod(0o755)
        new.rename(self._script)


@contextlib.asynccontextmanager
async def lying() -> AsyncIterator[Liar]:
    """One, for the block."""
    with tempfile.TemporaryDirectory(prefix="sx") as directory:
        Path(directory).chmod(0o755)
        script = Path(directory) / "session"
        async with PrivateServer(options={"ForceCommand": str(script)}) as server:
            async with managed(server) as manager:
                liar = Liar(None, script)  # type: ignore[arg-type]
                liar.runs("")
                async with manager.get_connection(1) as liar.connection:
                    yield liar
