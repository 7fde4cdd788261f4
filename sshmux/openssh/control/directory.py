"""The private directory of the control sockets, and the record beside each.

A record is made before its log-in begins (with O_EXCL, so it reserves the name) and is replaced
atomically, so several managers share one directory without a lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import ControlDirError
from ...system.clock import now
from . import place
from .entry import Entry, create
from .naming import (
    entry_name,
    entry_of,
    is_code,
    is_half_made,
    is_turn,
    label_room,
    probe_name,
    readable,
    shared_entry_of,
    shorten,
)
from .record import Record, node, own_identity


class ControlDir:
    """A directory that is ours alone, or an error that says why not."""

    def __init__(self, path: os.PathLike[str] | str | None = None) -> None:
        self.path = place.chosen_path(path)
        self._proved = False

    def __repr__(self) -> str:
        return f"<ControlDir {self.path}>"

    def open(self) -> None:
        """Makes the directory if need be, and checks it. Raises `ControlDirError`.

        Nothing is made where it would not be safe.
        """
        self._refuse(place.long(self.path) or place.unsafe_way(self.path))
        missing = [path for path in (self.path, *self.path.parents) if not place.exists(path)]
        try:
            for path in reversed(missing):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._error(f"cannot be made: {error.strerror}") from error
        self._refuse(place.unsafe(self.path))

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise self._error(reason)

    def prove(self) -> None:
        """Checks, once, that sockets and hard links can be made there.

        A file system without them would fail after the log-in, which is too late.
        """
        self.open()
        if self._proved:
            return
        probe = self.path / probe_name()
        link = probe.with_name(f"{probe.name}.link")
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.fspath(probe))
                os.link(probe, link)
        except OSError as error:
            raise self._error(
                f"is on a file system without sockets or hard links ({error.strerror})"
            ) from error
        finally:
            for path in (probe, link):
                with contextlib.suppress(OSError):
                    path.unlink()
        self._proved = True

    def _error(self, what: str) -> ControlDirError:
        return ControlDirError(
            f"the control directory {self.path} {what}: "
            "name a new one, which is made for you, with $SSHMUX_DIR or control_dir="
        )

    def entry(self, name: str) -> Entry:
        """The entry of a name, whether or not it exists."""
        return Entry(self.path, name)

    def reserve(
        self, cluster: str, slot: str, *, address: str, digest: str, persist: int
    ) -> tuple[Entry, Record]:
        """A new name, taken by writing its record. Raises `ControlDirError` (a full disk, …)."""
        self.prove()
        label = shorten(readable(cluster), label_room(self.path, slot))
        me = own_identity()
        for _ in range(16):
            entry = self.entry(entry_name(label, slot))
            record = Record(
                name=entry.name,
                cluster=cluster,
                slot=slot,
                address=address,
                digest=digest,
                node=node(),
                created_at=now(),
                persist=persist,
                owner_pid=me.pid,
                owner_started=me.started,
            )
            try:
                create(entry.record_path, record.to_json())
            except FileExistsError:
                continue
            except OSError as error:
                entry.remove()
                raise self._error(f"cannot be written to ({error.strerror})") from error
            return entry, record
        raise self._error("has no free name left")  # 16 collisions of 30 random bits: never seen

    def entries(self) -> Iterator[Entry]:
        """Every name with a socket or a record, sorted; none when the directory is missing."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return
        for name in sorted({name for name in map(entry_of, names) if name is not None}):
            yield self.entry(name)

    def ways_through(self, entry: Entry) -> list[str]:
        """The living masters that go through a jump host's."""
        if not entry.leads_on:
            return []
        records = [other.read() for other in self.entries()]
        return [
            record.name
            for record in records
            if record is not None and record.via == entry.name and record.here and record.alive
        ]

    def debris(self) -> Iterator[Path]:
        """Temporary names, of ours and of ssh's, that a crash may have left."""
        yield from self._named(is_half_made)

    def turns(self) -> Iterator[Path]:
        """What belongs to log-ins that are, or were, under way."""
        yield from self._named(is_turn)

    def codes(self) -> Iterator[Path]:
        """The marks of one-time codes that were used."""
        yield from self._named(is_code)

    def loose(self) -> Iterator[Path]:
        """Locks and holders of masters that are not on record."""
        for path in self._named(lambda name: shared_entry_of(name) is not None):
            entry = self.entry(shared_entry_of(path.name) or "")
            if not os.path.lexists(entry.record_path):
                yield path

    def _named(self, wanted: Callable[[str], bool]) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.path)):
                if wanted(name):
                    yield self.path / name
