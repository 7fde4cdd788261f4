"""Which network connections a process has, as the system tells it."""

from __future__ import annotations

import psutil


def has_connection(pid: int) -> bool | None:
    """Whether a process of ours, or one below it, has a TCP connection, or still tries to make one.

    None if it does neither, or if that cannot be seen.
    """
    try:
        process = psutil.Process(pid)
        states = {state for each in _family(process) for state in _states(each)}
    except (psutil.Error, OSError):
        return None
    if psutil.CONN_ESTABLISHED in states:
        return True
    return False if psutil.CONN_SYN_SENT in states else None


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _states(process: psutil.Process) -> list[str]:
    connections = getattr(process, "net_connections", None) or process.connections
    try:
        return [str(each.status) for each in connections(kind="tcp")]
    except psutil.Error:  # it has ended meanwhile
        return []
