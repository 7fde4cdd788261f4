"""An entry of no particular master."""

from __future__ import annotations

from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.record import Record


def reserve(directory: ControlDir, cluster: str = "hpc", slot: str = "1") -> tuple[Entry, Record]:
    return directory.reserve(cluster, slot, address="ada@hpc", digest="d", persist=0)
