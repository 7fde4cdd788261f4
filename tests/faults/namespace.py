"""A link of one's own: two ends in two network namespaces, as between two machines.

What listens at the other end was opened there, and is served by this process: a socket stays in the
namespace in which it was made. So a master's packets really go over the link, which can be taken
down, while the server behind it is reached as ever.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

_NEWNET = 0x40000000  # sched.h: CLONE_NEWNET
_numbers = itertools.count()


def unavailable() -> str | None:
    """Why there can be none here; None if there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("ip"):
        return "a network namespace of one's own needs Linux, root and `ip`"
    with Link() as link:
        return link.problem


class Link:
    """A link to another namespace; a context manager. `problem` says why it is none, if so.

    Attributes:
        address: of the other end.
    """

    def __init__(self) -> None:
        number = (os.getpid() * 7 + next(_numbers)) % 16_000
        self.name = f"sx{os.getpid() % 100_000}x{next(_numbers)}"
        net = f"10.{128 + number // 256}.{number % 256}"
        self.own, self.address = f"{net}.1", f"{net}.2"
        self.problem: str | None = None

    def __enter__(self) -> Self:
        here, there = f"{self.name}a", f"{self.name}b"
        steps = [
            f"ip netns add {self.name}",
            f"ip link add {here} type veth peer name {there} netns {self.name}",
            f"ip addr add {self.own}/30 dev {here}",
            f"ip link set {here} up",
            f"ip -n {self.name} addr add {self.address}/30 dev {there}",
            f"ip -n {self.name} link set {there} up",
        ]
        for step in steps:
            if self.problem is None:
                self.problem = _run(step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _run(f"ip link del {self.name}a")
        _run(f"ip netns del {self.name}")

    def listening(self) -> socket.socket:
        """A socket that listens at the other end."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.name}", "rb") as file:
                if libc.setns(file.fileno(), _NEWNET) != 0:
                    number = ctypes.get_errno()
                    made.append(OSError(number, os.strerror(number)))
                    return
            made.append(socket.create_server((self.address, 0)))

        thread = threading.Thread(target=make)  # a namespace is a thread's: this one ends
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def down(self) -> None:
        """The cable is pulled."""
        _do(f"ip link set {self.name}a down")

    def up(self) -> None:
        """It is plugged in again."""
        _do(f"ip link set {self.name}a up")

    def swallow(self) -> str | None:
        """Nothing comes from the other end any more. Why it cannot be, if so."""
        return _run(f"ip netns exec {self.name} iptables -A OUTPUT -j DROP")

    def lose(self, part: float) -> str | None:
        """Packets are lost from now on, both ways: that part. Why it cannot be, if so."""
        rule = f"-m statistic --mode random --probability {part} -j DROP"
        for chain in ("INPUT", "OUTPUT"):
            problem = _run(f"ip netns exec {self.name} iptables -A {chain} {rule}")
            if problem is not None:
                return problem
        return None

    def lose_nothing(self) -> None:
        """And now all arrive again."""
        _do(f"ip netns exec {self.name} iptables -F")


def _run(line: str) -> str | None:
    done = subprocess.run(line.split(), capture_output=True, text=True)
    return None if done.returncode == 0 else f"{line}: {done.stderr.strip()}"


def _do(line: str) -> None:
    problem = _run(line)
    assert problem is None, problem
