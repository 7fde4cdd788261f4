"""What another user, or a broken program of one's own, may leave in a control directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pytest

from sshmux import ConnectionConfig
from sshmux.openssh.control.dial import digest
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.record import Record, node
from sshmux.openssh.resolve import resolve
from sshmux.system.clock import now
from sshmux.system.identity import ProcessId

NAME = "hpc.1.abcdef"
OTHER = 12345  # the uid of somebody else
CONFIG = ConnectionConfig("hpc.invalid", username="ada", dial="never")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@dataclass
class FakeMaster:
    """One that runs, and what it was told."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def heard(self) -> list[bytes]:
        """What has come to it, beyond a connection."""
        os.set_blocking(self.output.fileno(), False)
        return (self.output.read() or b"").splitlines()


@contextlib.contextmanager
def fake_master(
    path: Path, pid: int, *, uid: int | None = None, socket_owner: str = "theirs"
) -> Iterator[FakeMaster]:
    """Listens at `path` as user `uid`, and says that it is process `pid`."""
    program = Path(__file__).with_name("fake_master.py")
    uid = os.geteuid() if uid is None else uid
    command = [sys.executable, "-I", str(program), str(path), str(pid), str(uid), socket_owner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/") as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield FakeMaster(process, process.stdout)
        finally:
            process.kill()


async def a_record(pid: int, config: ConnectionConfig = CONFIG, **changes: object) -> Record:
    """A record as one would be left for adoption; its master is process `pid`."""
    master = ProcessId.of(pid)
    assert master is not None
    record = Record(
        name=NAME,
        cluster="hpc",
        slot="1",
        address=config.address,
        digest=digest(config, [await resolve(config)]),
        node=node(),
        created_at=now(),
        persist=600,
        master_pid=pid,
        master_started=master.started,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def plant(entry: Entry, record: Record, owner: int | None = None) -> None:
    """Writes a record, as if `owner` had done it."""
    entry.record_path.write_text(record.to_json())
    if owner is not None:
        os.chown(entry.record_path, owner, -1)


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with anything, and has to live on."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield process
            assert process.poll() is None, "a process that was none of ours was ended"
        finally:
            process.kill()
