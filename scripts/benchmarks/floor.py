"""The floor: the plainest client of a master that there can be, blocking, for one command.

What is left above its time is what a client could save at all; what it takes itself is OpenSSH's
and the kernel's. So it shares no line with sshmux, checks little, and does one thing at a time.
The messages are those of OpenSSH's PROTOCOL.mux.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from pathlib import Path
from statistics import median

_HELLO = struct.pack(">III", 8, 0x00000001, 4)
_NEW_SESSION = 0x10000002
_FAILURE = 0x80000003
_EXIT = 0x80000004
_PIECE = 256 * 1024
_SLOW = 60  # seconds without a word: something is wrong


class Floor:
    """Runs commands on one master, each over a fresh connection to it, as `ssh -S` does."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._null = os.open(os.devnull, os.O_RDWR)

    async def sequential(self, count: int, command: str) -> dict[str, float]:
        """The event loop stands still meanwhile, and costs nothing."""
        took = []
        cpu = time.process_time()
        for _ in range(count):
            begun = time.perf_counter()
            self.run(command)
            took.append(time.perf_counter() - begun)
        cpu = time.process_time() - cpu
        return {"p50": median(took), "own_cpu": cpu / count}

    async def bulk(self, command: str, size: int) -> dict[str, float]:
        """Much output of one command, as one bytes object."""
        begun, cpu = time.perf_counter(), time.process_time()
        found = len(self.run(command))
        if found != size:
            raise RuntimeError(f"{found} bytes came, not {size}")
        cpu = time.process_time() - cpu
        return {"seconds": time.perf_counter() - begun, "own_cpu": cpu}

    def run(self, command: str) -> bytes:
        """Its stdout. Raises `RuntimeError` unless it ends with 0."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_SLOW)
            control.connect(self._path)
            out, out_end = os.pipe()
            err, err_end = os.pipe()
            try:
                control.sendall(_HELLO + _request(command))
                for descriptor in (self._null, out_end, err_end):
                    control.sendmsg([b"\0"], [_rights(descriptor)])
                os.close(out_end)
                os.close(err_end)
                output = _read(out, err)
            finally:
                os.close(out)
                os.close(err)
            status = _status(control)
        if status != 0:
            raise RuntimeError(f"{command!r} ended with {status}")
        return output


def _request(command: str) -> bytes:
    line = command.encode()
    term = os.environ.get("TERM", "").encode()
    body = struct.pack(">II", _NEW_SESSION, 1)  # request 1
    body += struct.pack(">I", 0)  # a reserved string
    body += struct.pack(">5I", 0, 0, 0, 0, 0xFFFFFFFF)  # tty, X11, agent, subsystem; no escape
    body += struct.pack(">I", len(term)) + term + struct.pack(">I", len(line)) + line
    return struct.pack(">I", len(body)) + body


def _rights(descriptor: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]).tobytes()


def _read(out: int, err: int) -> bytes:
    """All of stdout. stderr is read, or its writer would wait."""
    pieces: list[bytes] = []
    poll = select.poll()
    for descriptor in (out, err):
        poll.register(descriptor, select.POLLIN)
    left = 2
    while left:
        ready = poll.poll(_SLOW * 1000)
        if not ready:
            raise RuntimeError(f"nothing came for {_SLOW} s")
        for descriptor, _ in ready:
            piece = os.read(descriptor, _PIECE)
            if not piece:
                poll.unregister(descriptor)
                left -= 1
            elif descriptor == out:
                pieces.append(piece)
    return b"".join(pieces)


def _status(control: socket.socket) -> int:
    """Of the message that says so; what comes before it is skipped."""
    stream = control.makefile("rb")
    while head := stream.read(4):
        (length,) = struct.unpack(">I", head)
        body = stream.read(length)
        (kind,) = struct.unpack_from(">I", body)
        if kind == _FAILURE:
            raise RuntimeError(f"the master refused: {body[12:].decode(errors='replace')}")
        if kind == _EXIT:
            return int(struct.unpack_from(">I", body, 8)[0])
    raise RuntimeError("the master has gone")
