"""What has arrived in a private directory here: it is checked, put right, and moved into place.

Whoever sent it has no say in where it goes: only the names that were asked for are taken, nothing
is reached through a link, and what is there is replaced file by file, in one step each. All of it
blocks; it is done in a thread.

The directory is ours alone (mode 0700), so nobody changes it meanwhile. Where things go others may
be at work: there each directory is used by the descriptor of what it was seen to be.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from ..errors import SourceNotFound, TransferError
from ..system.links import stays_inside
from ..system.selection import Selection
from ..text import logger
from .part import DIRECTORY, INTO
from .scripts import DEEPEST

log = logger("sshmux.transfer")


@dataclass
class Arrival:
    """The files in a directory of ours, on their way to another one.

    Parameters:
        what: of what to what, for errors.
        preserve: keep permissions (0777 of them) and times.
        mask: the permissions that new files do not get.
        links: whether what was asked for may be a link itself.
        directories: whether it may be a directory.
        selection: what was asked for of what is in directories; None: all of it.
        called: what the only one at the top was called there; "" if what is in it was asked for.
            None: everything has its own name.

    Attributes:
        files: how many files and links there are.
        size: of the files, in bytes.
    """

    what: str
    preserve: bool
    mask: int
    links: bool
    directories: bool
    selection: Selection | None = None
    called: bytes | None = None
    files: int = 0
    size: int = 0
    _links: dict[bytes, bytes] = field(default_factory=dict)
    # Hard links: how many there should be, and where they are.
    _shared: dict[tuple[int, int], tuple[int, list[bytes]]] = field(default_factory=dict)
    _modes: dict[bytes, int] = field(default_factory=dict)  # that directories get in the end
    _merged: set[bytes] = field(default_factory=set)  # directories that were there
    _inherited: int = 0  # setgid of the directory above: groups are passed on

    def check(
        self, part: str, names: Collection[str] | None, rename: tuple[str, str] | None = None
    ) -> None:
        """Looks at all of it, and puts permissions right.

        Parameters:
            names: what was asked for, which must all be there; None: whatever is in a directory.
            rename: what one of them is called from now on.

        Raises `TransferError` for anything else.
        """
        with _opened(os.fsencode(part)) as at:
            self._inherited = os.fstat(at).st_mode & stat.S_ISGID
            if names is not None:
                self._only(at, {os.fsencode(name) for name in names})
            if rename is not None:
                os.rename(rename[0], rename[1], src_dir_fd=at, dst_dir_fd=at)
            self._check(at, b"", 0)
            self._drop_links(at)
            self._check_all_shared(at)

    def _only(self, at: int, names: set[bytes]) -> None:
        found = {os.fsencode(name) for name in os.listdir(at)}
        if extra := found - names:
            raise TransferError(
                f"{self.what}: refused: the remote sent {_shown(min(extra))}, which was not asked "
                "for"
            )
        if missing := names - found:
            raise SourceNotFound(f"{self.what}: {_shown(min(missing))} did not arrive")

    def _check(self, at: int, path: bytes, depth: int) -> None:
        if depth > DEEPEST:
            raise TransferError(f"{self.what}: more than {DEEPEST} directories in one another")
        with os.scandir(at) as entries:
            found = list(entries)
        for entry in found:
            name = os.fsencode(entry.name)
            below, now = os.path.join(path, name), entry.stat(follow_symlinks=False)
            if not depth:
                self._check_type(below, now.st_mode)
            self._check_selected(below, directory=stat.S_ISDIR(now.st_mode))
            if stat.S_ISDIR(now.st_mode):
                _own(at, name, now)
                self._check_directory(at, name, below, now, depth)
            elif stat.S_ISREG(now.st_mode):
                if now.st_nlink > 1:
                    self._check_shared(below, now)
                else:
                    self._check_file(at, name, now)
            elif stat.S_ISLNK(now.st_mode):
                self._links[below] = os.readlink(name, dir_fd=at)
            else:
                self._leave_out(at, name)
                log.warning("%s: left out: %s is no file", self.what, _shown(below))

    def _check_type(self, path: bytes, mode: int) -> None:
        """Whether what was asked for may be that: it was told what it is before."""
        if stat.S_ISLNK(mode) and not self.links:
            raise TransferError(f"{self.what}: refused: {_shown(path)} arrived as a link")
        if stat.S_ISDIR(mode) and not self.directories:
            raise TransferError(f"{self.what}: {_shown(path)} is a directory: use recurse=True")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise TransferError(f"{self.what}: {_shown(path)} is neither a file nor a directory")

    def _check_selected(self, path: bytes, *, directory: bool) -> None:
        if self.selection is None:
            return
        if self.called is not None:
            below = path.partition(b"/")[2]
            path = os.path.join(self.called, below) if below else self.called
        if path and not self.selection.takes(path, directory=directory):
            raise TransferError(
                f"{self.what}: refused: the remote sent {_shown(path)}, which exclude= and "
                "include= leave out"
            )

    def _check_directory(
        self, at: int, name: bytes, path: bytes, now: os.stat_result, depth: int
    ) -> None:
        wanted = self._wanted(now.st_mode) | self._inherited
        if wanted & INTO != INTO:
            self._modes[path] = wanted  # until it is in its place we must be able to change it
        if stat.S_IMODE(now.st_mode) != wanted | INTO:
            os.chmod(name, wanted | INTO, dir_fd=at)
        with _opened(name, at) as below:
            self._check(below, path, depth + 1)

    def _check_file(self, at: int, name: bytes, now: os.stat_result) -> None:
        _own(at, name, now)
        wanted = self._wanted(now.st_mode)
        if stat.S_IMODE(now.st_mode) != wanted:
            os.chmod(name, wanted, dir_fd=at)
        self.files += 1
        self.size += now.st_size

    def _check_shared(self, path: bytes, now: os.stat_result) -> None:
        """One of several names. Nothing is done to it before all of them are known to be ours."""
        known = self._shared.setdefault((now.st_dev, now.st_ino), (now.st_nlink, []))
        known[1].append(path)

    def _check_all_shared(self, top: int) -> None:
        for expected, paths in self._shared.values():
            if expected != len(paths):
                raise TransferError(f"{self.what}: refused: a file is linked to one from elsewhere")
        for _, paths in self._shared.values():
            for path in paths:
                with _parent(top, path) as (at, name):
                    self._check_file(at, name, os.stat(name, dir_fd=at, follow_symlinks=False))

    def _wanted(self, mode: int) -> int:
        return mode & 0o777 & ~(0 if self.preserve else self.mask)

    def _drop_links(self, at: int) -> None:
        """Leaves out the links that lead out of what is copied."""
        for path, leads_to in self._links.items():
            root = path.partition(b"/")[0]
            alone = path == root
            if stays_inside(path, leads_to, b"" if alone else root, self._links, _no_link):
                self.files += 1
                continue
            why = f"{_shown(path)} is a link to {_shown(leads_to)}, out of what is copied"
            if alone:
                raise TransferError(f"{self.what}: refused: {why}")
            log.warning("%s: left out: %s", self.what, why)
            with _parent(at, path) as (directory, name):
                self._leave_out(directory, name)

    def _leave_out(self, at: int, name: bytes) -> None:
        before = os.fstat(at)
        os.unlink(name, dir_fd=at)
        if self.preserve:
            os.utime(at, ns=(before.st_atime_ns, before.st_mtime_ns))

    # Into its place

    def move(self, part: str, target: str) -> None:
        """Moves it all into a directory: into directories of the same names, over files.

        Nothing is moved if something is in the way. Raises `TransferError` and `OSError`.
        """
        with _opened(os.fsencode(part)) as source, _opened(os.fsencode(target), None) as into:
            self._find_conflicts(source, into, b"")
            self._move(source, into, b"")
            for path, mode in reversed(self._modes.items()):
                if self.preserve or path not in self._merged:
                    with _parent(into, path) as (at, name), _opened(name, at) as directory:
                        os.fchmod(directory, mode)

    def _find_conflicts(self, source: int, into: int, path: bytes) -> None:
        for name, kind, there in _pairs(source, into):
            below = os.path.join(path, name)
            if there is None:
                continue
            if stat.S_ISDIR(kind) and stat.S_ISDIR(there):
                with _opened(name, source) as one, _opened(name, into) as other:
                    self._find_conflicts(one, other, below)
            elif (belongs := _in_the_way(kind, there)) is not None:
                raise TransferError(f"{self.what}: {_shown(below)} here is {belongs}")

    def _move(self, source: int, into: int, path: bytes) -> None:
        for name, kind, there in _pairs(source, into):
            below = os.path.join(path, name)
            if there is not None and stat.S_ISDIR(kind) and stat.S_ISDIR(there):
                self._merged.add(below)
                with _opened(name, source) as one, _opened(name, into) as other:
                    self._merge(one, other, below)
            elif there is not None and _in_the_way(kind, there) is not None:
                raise TransferError(f"{self.what}: {_shown(below)} has changed meanwhile")
            else:
                os.replace(name, name, src_dir_fd=source, dst_dir_fd=into)

    def _merge(self, source: int, into: int, path: bytes) -> None:
        """Moves what is in a directory into one that is there, which may be read-only."""
        new, former = os.fstat(source), os.fstat(into)
        mode = stat.S_IMODE(former.st_mode)
        mine = former.st_uid == os.geteuid()
        if mine and mode & INTO != INTO:
            os.fchmod(into, mode | INTO)
        try:
            self._move(source, into, path)
        finally:
            if mine and mode & INTO != INTO:
                os.fchmod(into, mode)
        if self.preserve and mine:
            os.fchmod(into, stat.S_IMODE(new.st_mode))
            os.utime(into, ns=(new.st_atime_ns, new.st_mtime_ns))


def _pairs(source: int, into: int) -> Iterator[tuple[bytes, int, int | None]]:
    """Each name in a directory, what it is, and what is called so in the other one."""
    for text in sorted(os.listdir(source)):
        name, there = os.fsencode(text), None
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=into, follow_symlinks=False).st_mode
        yield name, os.stat(name, dir_fd=source, follow_symlinks=False).st_mode, there


def _in_the_way(kind: int, there: int) -> str | None:
    """Why what is there is not replaced."""
    if stat.S_ISDIR(kind):
        what = "a link" if stat.S_ISLNK(there) else "no directory"
        return f"{what}, where a directory belongs"
    if stat.S_ISDIR(there):
        return "a directory, where a file belongs"
    if not (stat.S_ISREG(there) or stat.S_ISLNK(there)):
        return "a device, FIFO or socket, which is not replaced"
    return None


def _own(at: int, name: bytes, now: os.stat_result) -> None:
    """A tar that root runs may have given it to somebody else."""
    if now.st_uid != os.geteuid():
        os.chown(name, os.geteuid(), os.getegid(), dir_fd=at, follow_symlinks=False)


def _no_link(_: bytes) -> bool:
    return False  # they are all the copy's own


def _shown(path: bytes) -> str:
    return repr(os.fsdecode(path))


@contextlib.contextmanager
def _opened(path: bytes, at: int | None = -1) -> Iterator[int]:
    """A directory, open in the block; no link is followed, but in a path of the caller's own.

    Parameters:
        at: the directory that it is in; None: links in it are followed.
    """
    flags = DIRECTORY & ~os.O_NOFOLLOW if at is None else DIRECTORY
    directory = os.open(path, flags, dir_fd=at if at is not None and at >= 0 else None)
    try:
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def _parent(at: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """The directory that a path is in, and its name there."""
    *above, name = path.split(b"/")
    with contextlib.ExitStack() as stack:
        for part in above:
            at = stack.enter_context(_opened(part, at))
        yield at, name
