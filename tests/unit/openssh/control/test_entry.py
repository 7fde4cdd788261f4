"""Entries: records written whole, and one winner for every claim."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

from sshmux.openssh.control.directory import ControlDir
from sshmux.openssh.control.entry import Entry
from sshmux.openssh.control.record import Record

from .reserving import reserve


def test_a_claim_has_one_winner(directory: ControlDir) -> None:
    claimants = 8
    for _ in range(20):
        entry, record = reserve(directory)
        barrier = threading.Barrier(claimants)
        claimed: list[Record] = []

        def claim(
            entry: Entry = entry,
            barrier: threading.Barrier = barrier,
            claimed: list[Record] = claimed,
        ) -> None:
            barrier.wait()
            if (found := entry.claim()) is not None:
                claimed.append(found)

        threads = [threading.Thread(target=claim) for _ in range(claimants)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert claimed == [record]
        assert not entry.record_path.exists()
    assert list(directory.path.iterdir()) == []


def test_readers_never_see_half_a_record(directory: ControlDir) -> None:
    entry, record = reserve(directory)
    done = threading.Event()
    seen: list[Record | None] = []

    def read() -> None:
        while not done.is_set():
            seen.append(entry.read())

    reader = threading.Thread(target=read)
    reader.start()
    for pid in range(2, 300):
        entry.write(replace(record, master_pid=pid, master_started="boot/1"))
    done.set()
    reader.join()
    assert seen
    assert None not in seen


def test_touch_notes_the_last_use(directory: ControlDir) -> None:
    entry, _ = reserve(directory)
    os.utime(entry.record_path, (1, 1))
    entry.touch()
    assert entry.record_path.stat().st_mtime > 1_000_000


def test_remove_takes_socket_and_record(directory: ControlDir) -> None:
    entry, _ = reserve(directory)
    entry.socket.touch()
    entry.remove()
    entry.remove()
    assert list(directory.path.iterdir()) == []
