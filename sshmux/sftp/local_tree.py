"""Files below one directory here, reached by descriptors: no link on the way is ever followed.

A name that a server chose, or that somebody swaps for a link meanwhile, can so lead nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from ..errors import SFTPFailure

_HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_INTO = 0o700  # what the owner of a directory needs to fill it

Times = tuple[float, float]


class LocalTree:
    """A directory here, and what is below it. Its methods may block.

    Paths are relative to it, in bytes, of names that were checked: no `..`, no slash at the start.

    Parameters:
        directory: links in its own path are followed: it is the caller's.
    """

    def __init__(self, directory: bytes) -> None:
        self._root = os.open(directory or b".", _HANDLE)
        self._shown = directory

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._root)

    @contextlib.contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory that a path is in, and its name there."""
        *above, name = path.split(b"/") if path else [b"."]
        at = self._root
        try:
            for part in above:
                below = os.open(part, _HANDLE | os.O_NOFOLLOW, dir_fd=at)
                if at != self._root:
                    os.close(at)
                at = below
            yield at, name
        except OSError as error:
            if error.filename is not None:
                error.filename = os.fsdecode(os.path.join(self._shown, path))
            raise
        finally:
            if at != self._root:
                os.close(at)

    def look(self, path: bytes) -> os.stat_result | None:
        """What there is: of a link, the link. None for nothing."""
        try:
            with self._parent(path) as (at, name):
                return os.stat(name, dir_fd=at, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def make_directory(self, path: bytes, mode: int) -> int | None:
        """Makes a directory that its owner can fill. The mode of one that was there and could not.

        Raises `OSError`, also for a link or a file in its place.
        """
        with self._parent(path) as (at, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, (mode & 0o777) | _INTO, dir_fd=at)
                return None
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                what = "A link" if stat.S_ISLNK(found.st_mode) else "A file"
                raise NotADirectoryError(
                    errno.ENOTDIR, f"{what} is where a directory belongs", name
                )
            if found.st_mode & _INTO == _INTO or found.st_uid != os.geteuid():
                return None
            _set_mode(at, name, stat.S_IMODE(found.st_mode) | _INTO)
            return stat.S_IMODE(found.st_mode)

    def open(self, path: bytes, mode: int, *, device: bool = False) -> int:
        """Opens a file to be written, which is not emptied; of a new one, less the umask.

        A link in its place is replaced, and so is a file that is not to be written. Raises
        `OSError`, and `SFTPFailure` for what is no file.

        Parameters:
            device: a character device will do, too.
        """
        with self._parent(path) as (at, name):
            found = None
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
            flags, mode = _WRITE | os.O_NOFOLLOW, mode & 0o777
            if found is not None:
                if stat.S_ISLNK(found):
                    os.unlink(name, dir_fd=at)
                    flags |= os.O_EXCL
                else:
                    check_type(found, os.path.join(self._shown, path), device=device)
            try:
                file = os.open(name, flags, mode, dir_fd=at)
            except PermissionError:
                if found is None or not stat.S_ISREG(found):
                    raise
                os.unlink(name, dir_fd=at)
                file = os.open(name, flags | os.O_EXCL, mode, dir_fd=at)
            return checked(file, os.path.join(self._shown, path), device=device)

    def make_link(self, path: bytes, leads_to: bytes) -> None:
        """Makes a symbolic link; a link or a file in its place is replaced. Raises `OSError`."""
        with self._parent(path) as (at, name):
            with contextlib.suppress(FileExistsError):
                os.symlink(leads_to, name, dir_fd=at)
                return
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=at) == leads_to:
                return
            if not stat.S_ISLNK(found.st_mode) and not stat.S_ISREG(found.st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            os.unlink(name, dir_fd=at)
            os.symlink(leads_to, name, dir_fd=at)

    def keep(self, path: bytes, mode: int | None, times: Times | None) -> None:
        """Sets the mode (not of a link), and the times. Raises `OSError`."""
        with self._parent(path) as (at, name):
            if mode is not None:
                _set_mode(at, name, stat.S_IMODE(mode))
            if times is not None:
                os.utime(name, times, dir_fd=at, follow_symlinks=False)


def open_named(path: bytes, mode: int) -> int:
    """The same as `LocalTree.open` for a path of the caller's own, whose links are followed."""
    with contextlib.suppress(FileNotFoundError):
        check_type(os.stat(path).st_mode, path, device=True)
    return checked(os.open(path, _WRITE, mode & 0o777), path, device=True)


def checked(file: int, path: bytes, *, device: bool) -> int:
    """The open file, if it is one: it may have been swapped for something else meanwhile."""
    try:
        check_type(os.fstat(file).st_mode, path, device=device)
    except BaseException:
        os.close(file)
        raise
    return file


def check_type(mode: int, path: bytes, *, device: bool) -> None:
    """Raises `SFTPFailure` for what is no file to be written or read (a directory says so itself).

    A device, a FIFO or a socket is not replaced, and not waited for.
    """
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (device and stat.S_ISCHR(mode)):
        return
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    shown = path.decode("utf-8", "backslashreplace")
    raise SFTPFailure(f"{shown} is {kinds.get(stat.S_IFMT(mode), 'a device')}, and no file")


def _set_mode(at: int, name: bytes, mode: int) -> None:
    """Sets the mode of a file or directory, and never of what a link leads to."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            os.chmod(name, mode, dir_fd=at, follow_symlinks=False)
            return
        # Its owner may not read it either. Linux changes no mode by such a descriptor, but by
        # its name in /proc.
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        try:
            if not stat.S_ISLNK(os.fstat(file).st_mode):
                os.chmod(f"/proc/self/fd/{file}", mode)
        finally:
            os.close(file)
        return
    try:
        os.fchmod(file, mode)
    finally:
        os.close(file)
