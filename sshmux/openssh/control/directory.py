"""The private directory of the control sockets, and the record beside each.

    hpc.1.k3f9a2.sock   the control socket: cluster, slot, and letters that never come again
    hpc.1.k3f9a2.json   its record: whose it is, where it leads, which process it is

A record is made before its log-in begins (with O_EXCL, so it reserves the name) and is replaced
atomically, so several managers share one directory without a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from ...errors import ControlDirError
from ...system.clock import now
from ...system.identity import ProcessId

# sun_path, less its NUL, less "." and 16 random characters: ssh binds PATH.XXXXXXXXXXXXXXXX and
# links it to PATH (misc.c: unix_listener; mux.c: muxserver_listen).
MAX_PATH = 86 if sys.platform == "darwin" else 90
_UNIQUE = 6  # characters
_MIN_LABEL = 8  # what must remain of a cluster's name for a user to know it
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_MAX_BRACKETS = 100  # a record nests nothing; what does could exhaust the decoder's stack
SOCKET_SUFFIX = ".sock"
RECORD_SUFFIX = ".json"
JUMP_LABEL = "jump-"  # before the name of a jump host, whose master is the way to others


@cache
def node() -> str:
    """The machine and pid namespace; pids in the records of another one mean nothing here."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}/{namespace}"


@dataclass(frozen=True)
class Record:
    """What is written beside a socket. Times are seconds since the epoch.

    `took`: what the log-in took that cannot be had again for nothing: "user", "code" or "".
    """

    name: str
    cluster: str
    slot: str
    address: str
    digest: str
    node: str
    created_at: float
    persist: int
    owner_pid: int | None = None
    owner_created: float | None = None
    master_pid: int | None = None
    master_created: float | None = None
    login_factor: str = ""

    @property
    def owner(self) -> ProcessId | None:
        """The process that holds the lease; None once it let a persistent master go."""
        if self.owner_pid is None or self.owner_created is None:
            return None
        return ProcessId(self.owner_pid, self.owner_created)

    @property
    def master(self) -> ProcessId | None:
        """The master; None while it is being dialled."""
        if self.master_pid is None or self.master_created is None:
            return None
        return ProcessId(self.master_pid, self.master_created)

    @property
    def here(self) -> bool:
        """Whether it was made on this machine, where its process ids mean something."""
        return self.node == node()

    @property
    def owned(self) -> bool:
        """Whether a living process holds it."""
        return self.owner is not None and self.owner.alive

    @property
    def alive(self) -> bool:
        """Whether its master runs."""
        return self.master is not None and self.master.alive

    def to_json(self) -> str:
        """One field a line: the guardian, a shell script, reads `master_pid` with sed."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record | None:
        """A record, or None for text that is none (of another version, say)."""
        if text.count("[") + text.count("{") > _MAX_BRACKETS:
            return None
        try:
            record = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        return record if record._sound else None

    @property
    def _sound(self) -> bool:
        """Whether the values are of the kinds that the properties above count on."""
        words = (
            self.name,
            self.cluster,
            self.slot,
            self.address,
            self.digest,
            self.node,
            self.login_factor,
        )
        numbers = (self.persist, self.owner_pid, self.master_pid)
        times = (self.created_at, self.owner_created, self.master_created)
        return (
            all(isinstance(word, str) for word in words)
            and all(number is None or type(number) is int for number in numbers)
            and all(time is None or type(time) in (int, float) for time in times)
            and self.persist is not None
            and all(pid is None or 0 < pid < 2**31 for pid in (self.owner_pid, self.master_pid))
        )


@dataclass(frozen=True)
class Entry:
    """One name in the directory."""

    directory: Path
    name: str

    @cached_property
    def socket(self) -> Path:
        """The control socket."""
        return self.directory / (self.name + SOCKET_SUFFIX)

    @cached_property
    def record_path(self) -> Path:
        """The record beside it."""
        return self.directory / (self.name + RECORD_SUFFIX)

    @property
    def leads_on(self) -> bool:
        """Whether others may be reached through it: then it is ended after them."""
        return self.name.startswith(JUMP_LABEL)

    def read(self) -> Record | None:
        """The record, or None when there is none that can be read."""
        try:
            return Record.from_json(self.record_path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, record: Record) -> None:
        """Replaces the record atomically."""
        temporary = self.directory / f".{self.name}.{secrets.token_hex(4)}"
        try:
            _create(temporary, record.to_json())
            temporary.replace(self.record_path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ControlDirError(f"cannot write {self.record_path}: {error.strerror}") from error

    def claim(self) -> Record | None:
        """Takes the record out of everybody else's reach; None when somebody was faster.

        rename() has one winner. The winner writes the record anew, or removes the entry.
        """
        private = self.directory / f".{self.name}.{secrets.token_hex(4)}"
        try:
            self.record_path.rename(private)
        except OSError:
            return None
        try:
            return Record.from_json(private.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        finally:
            with contextlib.suppress(OSError):
                private.unlink()

    def touch(self) -> None:
        """Marks the connection as used now: the record's mtime is when it was last given back."""
        with contextlib.suppress(OSError):
            os.utime(self.record_path)

    def remove(self) -> None:
        """Removes socket and record, as far as they are there."""
        for path in (self.socket, self.record_path):
            with contextlib.suppress(OSError):
                path.unlink()


class ControlDir:
    """A directory that is ours alone, or an error that says why not."""

    def __init__(self, path: os.PathLike[str] | str | None = None) -> None:
        self.path = Path(path).expanduser().absolute() if path is not None else default_path()
        self._proved = False

    def __repr__(self) -> str:
        return f"<ControlDir {self.path}>"

    def open(self) -> None:
        """Makes the directory if need be, and checks it. Raises `ControlDirError`."""
        try:
            self.path.mkdir(mode=0o700, parents=False, exist_ok=False)
        except FileExistsError:
            pass
        except FileNotFoundError:
            self._make_parents()
        except OSError as error:
            raise self._error(f"cannot be made: {error.strerror}") from error
        self._check_owner()
        self._check_length()

    def prove(self) -> None:
        """Checks, once, that sockets and hard links can be made there.

        A file system without them would fail after the log-in, which is too late.
        """
        self.open()
        if self._proved:
            return
        probe = self.path / f".probe.{secrets.token_hex(4)}"
        link = probe.with_suffix(".link")
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

    def _make_parents(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._error(f"cannot be made: {error.strerror}") from error

    def _check_owner(self) -> None:
        try:
            status = os.lstat(self.path)
        except OSError as error:
            raise self._error(f"cannot be looked at: {error.strerror}") from error
        if stat.S_ISLNK(status.st_mode):
            raise self._error("is a symbolic link, which somebody else may have put there")
        if not stat.S_ISDIR(status.st_mode):
            raise self._error("is not a directory")
        if status.st_uid != os.getuid():
            raise self._error(f"belongs to user {status.st_uid}, not to you")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise self._error(
                f"is open to others (mode {stat.S_IMODE(status.st_mode):o}); run chmod 700 on it"
            )
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise self._error("cannot be written to")

    def _check_length(self) -> None:
        if self._label_room("00") < _MIN_LABEL:
            raise self._error(
                f"is too long a path for control sockets (at most {MAX_PATH} bytes with the name)"
            )

    def _error(self, what: str) -> ControlDirError:
        return ControlDirError(
            f"the control directory {self.path} {what}: "
            "choose another with $SSHMUX_DIR or control_dir="
        )

    def _label_room(self, slot: str) -> int:
        fixed = len(f"/.{slot}.{'x' * _UNIQUE}{SOCKET_SUFFIX}")
        return MAX_PATH - len(os.fsencode(self.path)) - fixed

    def entry(self, name: str) -> Entry:
        """The entry of a name, whether or not it exists."""
        return Entry(self.path, name)

    def reserve(
        self, cluster: str, slot: str, *, address: str, digest: str, persist: int
    ) -> tuple[Entry, Record]:
        """A new name, taken by writing its record. Raises `ControlDirError` (a full disk, …)."""
        self.prove()
        label = shorten(readable(cluster), self._label_room(slot))
        me = own_identity()
        for _ in range(16):
            unique = "".join(secrets.choice(_ALPHABET) for _ in range(_UNIQUE))
            entry = self.entry(f"{label}.{slot}.{unique}")
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
                owner_created=me.created,
            )
            try:
                _create(entry.record_path, record.to_json())
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
        known = {
            name.removesuffix(suffix)
            for name in names
            for suffix in (SOCKET_SUFFIX, RECORD_SUFFIX)
            if name.endswith(suffix) and not name.startswith(".")
        }
        for name in sorted(known):
            yield self.entry(name)

    def debris(self) -> Iterator[Path]:
        """Temporary names that a crash left: ours begin with '.', ssh's end in 16 characters."""
        half_made = re.compile(r"\..*|.*\.sock\.[A-Za-z0-9]{16}")
        try:
            for item in os.scandir(self.path):
                if half_made.fullmatch(item.name):
                    yield Path(item.path)
        except OSError:
            return


def _create(path: Path, text: str) -> None:
    """A new file, for our eyes only. Raises `FileExistsError`, or another `OSError`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode("utf-8"))
    finally:
        os.close(fd)


def default_path() -> Path:
    """`$SSHMUX_DIR`, else `$XDG_RUNTIME_DIR/sshmux`, else a private one below the temporary one."""
    if chosen := os.environ.get("SSHMUX_DIR"):
        return Path(chosen).expanduser().absolute()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime).absolute() / "sshmux"
    return Path(tempfile.gettempdir()).absolute() / f"sshmux-{os.getuid()}"


def readable(cluster: str) -> str:
    """A cluster's name as part of a file name. What is lost lives on in a hash, for users."""
    plain = re.sub(r"[^A-Za-z0-9_@+=,.-]", "_", cluster).lstrip(".-") or "cluster"
    return plain if plain == cluster else f"{plain}~{_hash(cluster)}"


def shorten(label: str, room: int) -> str:
    """At most `room` characters; what is cut away lives on in a hash."""
    if len(label) <= room:
        return label
    return f"{label[: max(0, room - 5)]}~{_hash(label)}"[:room]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]


@cache
def _identity(pid: int) -> ProcessId:
    found = ProcessId.of(pid)
    if found is None:
        raise ControlDirError("this process cannot be found: is /proc mounted?")
    return found


def own_identity() -> ProcessId:
    """The process that calls (a forked child is another one)."""
    return _identity(os.getpid())


def with_owner(record: Record, owner: ProcessId | None) -> Record:
    """The record with another owner, or none."""
    return replace(
        record,
        owner_pid=owner.pid if owner else None,
        owner_created=owner.created if owner else None,
    )
