"""Whether a process is the master of a control socket: looked at before it is sent a signal.

A pid is only what a record says, or what somebody behind a socket said. The process itself shows
more: whose it is, which program, and the socket's path in its command line, which ssh keeps there
after it went into the background ("ssh: PATH [mux]").
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

from ...system.identity import ProcessId
from ..argv import escape_path
from .entry import Entry
from .record import Record

_SSH = re.compile(r".*ssh|ssh[^A-Za-z].*")  # "hpnssh", "ssh-9.9"; but no sshd, no sshmux


def is_master(process: ProcessId, socket: os.PathLike[str], program: str = "ssh") -> bool:
    """Whether it runs, is of this user, is an ssh, and has the socket in its command line.

    Parameters:
        program: what ssh may be called as well.
    """
    try:
        seen = psutil.Process(process.pid)
        mine = seen.uids().effective == os.geteuid()
        words = seen.cmdline()
        names = {seen.name(), *map(os.path.basename, words[:1])}
    except psutil.Error:
        return False
    is_ssh = any(_SSH.fullmatch(name) or name == os.path.basename(program) for name in names)
    return mine and is_ssh and _named(socket, " ".join(words)) and process.alive


def masters_of(socket: os.PathLike[str], program: str = "ssh") -> list[ProcessId]:
    """All masters of a socket that nobody can ask: a look at every process of this machine."""
    known = map(ProcessId.of, psutil.pids())
    return [each for each in known if each is not None and is_master(each, socket, program)]


def recorded_master(entry: Entry, record: Record) -> ProcessId | None:
    """The master that a record names, if it is that: one that may be sent a signal."""
    process = record.master
    if process is None or not record.here or not is_master(process, entry.socket):
        return None
    return process


def _named(socket: os.PathLike[str], line: str) -> bool:
    """Whether the socket is in a command line: as an argument of `-S`, or in a title, as it is."""
    return os.fspath(socket) in line or escape_path(socket) in line


def is_mine(entry: Entry) -> bool:
    """Whether the socket and the record, as far as they are there, are of this user.

    In a directory that was open to others once, some may be theirs.
    """
    return _mine(entry.socket) and _mine(entry.record_path)


def _mine(path: Path) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except FileNotFoundError:
        return True
    except OSError:
        return False
