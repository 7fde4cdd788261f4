"""One file: from here to there, and from there to here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from ..errors import (
    NoSpaceLeft,
    SourceChanged,
    SourceNotFound,
    TransferDenied,
    TransferError,
    VerifyError,
)
from ..system.tasks import Threads
from . import bounds, holes, reports, scripts
from .options import TransferOptions
from .progress import report_progress
from .remote import Remote, ScriptResult

_PIECE = 1024 * 1024
threads = Threads(2, linger=5)  # for what may block on a file here


async def put_file(
    remote: Remote, source: str, target: str, options: TransferOptions, *, name: str | None = None
) -> int:
    """Sends a file; the bytes of it.

    Parameters:
        name: what it is called in a directory that is the target; None for its own name.
    """
    name = os.path.basename(source) if name is None else name
    with opened(source, os.O_RDONLY, source, target) as given, whole(given) as file:
        found, at = os.fstat(file), 0
        args = scripts.place(target, name, secrets.token_hex(6), options.flags)
        if options.resume:
            at = await _offset_on_remote(remote, args, file, found.st_size)
            os.lseek(file, at, os.SEEK_SET)
        command = scripts.words(
            scripts.PUT,
            *args,
            found.st_size,
            f"{found.st_mode & 0o777:o}",
            scripts.stamp(found.st_mtime),
            at,
        )
        said = None
        if options.sparse and file == given and holes.has_holes(found):
            said = await _send_holes(remote, command, source, target, found.st_size, options)
        if said is None:
            where = partial(position, file)
            with report_progress(options.progress, source, target, found.st_size, where):
                said = await remote.run(command, stdin=file)
        if said.status != 0:
            raise reports.failure(said.stderr, said.status, source, target)
        if options.verify:
            await verify_there(remote, said, file, source, target)
        elif "done" not in said.words:
            raise reports.failure(said.stderr, said.status, source, target)
        return found.st_size


async def _send_holes(
    remote: Remote,
    command: list[str],
    source: str,
    target: str,
    size: int,
    options: TransferOptions,
) -> ScriptResult | None:
    """Sends a file as an archive. None where the remote cannot unpack it."""
    name = os.path.basename(source)
    at = command.index(scripts.PUT) + 2 + scripts.FLAGS
    command = [*command[:at], command[at] + "z", *command[at + 1 :], name]
    said, why = await holes.send(remote, command, source, target, size, options.progress)
    if "plain" in said.words:
        return None
    if why and said.status == 0:
        await remote.tidy(*said.names[:1], "")
    if why and (said.status or not options.accepts):
        raise reports.failure(why, 1, source, target)
    return said


@contextlib.contextmanager
def whole(file: int) -> Iterator[int]:
    """A file that knows its size. Those in /proc say that they have none: they are read first."""
    if os.fstat(file).st_size or not (data := os.pread(file, _PIECE, 0)):
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        while data and copy.tell() <= bounds.UNTOLD:
            copy.write(data)
            data = os.pread(file, _PIECE, copy.tell())
        copy.seek(0)
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(file).st_mode))
        yield copy.fileno()


async def _offset_on_remote(remote: Remote, args: tuple[str, ...], file: int, size: int) -> int:
    """How much of the file is there already, and is the same."""
    said = await remote.run(scripts.words(scripts.PART, *args))
    have, _, digest = said.words.get("part", "0 -").partition(" ")
    there = reports.number(have)
    if there is None or not 0 < there <= size:
        return 0
    return there if digest == await checksum(file, there) else 0


async def verify_there(
    remote: Remote, said: ScriptResult, file: int, source: str, target: str
) -> None:
    names = said.names
    if len(names) != 2:
        raise reports.failure(said.stderr, said.status, source, target)
    try:
        if said.words.get("sum") != await checksum(file):
            raise VerifyError(f"{source} to {target}: the checksums differ; nothing was changed")
        done = await remote.run(scripts.words(scripts.FINISH, *names))
    except BaseException:
        await remote.tidy(names[0], "")
        raise
    if "done" not in done.words:
        raise reports.failure(done.stderr, done.status, source, target)


Fetch = Callable[[Remote, str, str, int, str, TransferOptions], Awaitable[ScriptResult]]


async def get_file(
    remote: Remote,
    source: str,
    target: str,
    options: TransferOptions,
    fetch: Fetch | None = None,
) -> int:
    """Fetches a file; the bytes of it.

    Parameters:
        target: the name here, whole.
        fetch: brings its bytes into a part, which it gets as a descriptor and as a path.
    """
    if (device := _device(target, source)) is not None:
        return await _get_to_device(remote, source, device, options)
    directory, name = os.path.split(target)
    token = f".sshmux-{secrets.token_hex(6)}-part"
    part = os.path.join(directory, f".{name}.sshmux-part" if options.resume else token)
    part = part if options.atomic else target
    with contextlib.ExitStack() as undo:
        flags = os.O_RDWR | os.O_CREAT | (0 if options.resume or not options.atomic else os.O_EXCL)
        if options.atomic:
            flags |= os.O_NOFOLLOW
        with opened(part, flags, source, target) as file:
            if options.resume:
                check_ours(file, part, source, target)
            if options.atomic and not options.resume:
                undo.callback(_unlink, part)
            said = await (fetch or fetch_whole)(remote, source, target, file, part, options)
            await _check(said, file, source, target, options)
            if options.verify:
                sums = await remote.run(scripts.words(scripts.SUM, source))
                if sums.words.get("sum") != await checksum(file):
                    raise VerifyError(
                        f"{source} to {target}: the checksums differ; nothing was changed"
                    )
            size = os.fstat(file).st_size
            _finish_here(file, said, target, options)
            os.replace(part, target)
            undo.pop_all()
    return size


def _device(target: str, source: str) -> str | None:
    """The target, if it is a device that is written to, as `/dev/null`. Others are left alone."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return None
    if stat.S_ISCHR(mode):
        return target
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise TransferError(f"{source} to {target}: a device, FIFO or socket is not replaced")
    return None


async def _get_to_device(remote: Remote, source: str, device: str, options: TransferOptions) -> int:
    moved = 0

    def write(data: bytes) -> None:
        nonlocal moved
        moved += os.write(file, data)

    try:
        file = os.open(device, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise here(error, source, device) from error
    try:
        said = await remote.run(scripts.words(scripts.GET, source, 0, "-"), stdout=write)
    finally:
        os.close(file)
    size = told_size(said, source, device)
    if said.status != 0:
        raise reports.failure(said.stderr, said.status, source, device)
    if size != moved and size and not options.accepts:
        raise SourceChanged(f"{source} to {device}: {moved} of {size} bytes arrived")
    return moved


def check_ours(file: int, part: str, source: str, target: str) -> None:
    """A part's name can be foretold, and others may be able to write to the directory."""
    found = os.fstat(file)
    if found.st_uid != os.geteuid() or found.st_nlink != 1:
        raise TransferDenied(f"{source} to {target}: {part} is not yours alone: remove it")


async def fetch_whole(
    remote: Remote, source: str, target: str, file: int, part: str, options: TransferOptions
) -> ScriptResult:
    """Brings a file's bytes over one session, behind those that are there already."""
    at = total = 0
    if options.resume:
        at = await _offset_here(remote, source, target, file)
    os.ftruncate(file, at)
    os.lseek(file, at, os.SEEK_SET)
    if options.progress is not None:
        total = told_size(
            await remote.run(scripts.words(scripts.GET, source, 0, "n")), source, target
        )
    command = scripts.words(scripts.GET, source, at, options.flags + "z" * options.sparse)
    with report_progress(options.progress, source, target, total, partial(position, file)):
        bounded, what = not options.accepts, f"{source} to {target}"
        said = await bounds.fetch(remote, command, file, what, bounded=bounded)
    if options.sparse and said.status == 0 and "holes" in said.words:
        await holes.unpack(file, part, source, target)
    return said


async def _offset_here(remote: Remote, source: str, target: str, file: int) -> int:
    have = os.fstat(file).st_size
    if not have:
        return 0
    said = await remote.run(scripts.words(scripts.GET, source, have, "hn"))
    told, *_, digest = [*said.words.get("size", "").split(), "", ""][:4]
    size = reports.number(told)
    same = size is not None and size >= have and digest == await checksum(file, have)
    return have if same else 0


def told_size(said: ScriptResult, source: str, target: str) -> int:
    size = reports.number(said.words.get("size", "").partition(" ")[0])
    if size is None:
        raise reports.failure(said.stderr, said.status, source, target)
    return size


async def _check(
    said: ScriptResult, file: int, source: str, target: str, options: TransferOptions
) -> None:
    size = told_size(said, source, target)
    have = os.fstat(file).st_size
    if said.status == 0 and (have == size or options.accepts):
        return
    if said.status == 0 and size == 0 and have <= bounds.UNTOLD:
        return  # a file that does not know its size, as those in /proc
    if have < size:
        room = os.fstatvfs(file)
        if room.f_bavail == 0:
            raise NoSpaceLeft(f"{source} to {target}: no space left on this machine")
        if said.status:
            raise reports.failure(said.stderr, said.status, source, target)
        raise SourceChanged(
            f"{source} to {target}: {have} of {size} bytes arrived: the file was cut meanwhile, "
            "or a limit of size here was reached (ulimit -f, a quota)"
        )
    raise SourceChanged(
        f"{source} to {target}: {have} bytes arrived where there were {size}: the file grew "
        "meanwhile, or a start-up file of the remote account prints something"
    )


def _finish_here(file: int, said: ScriptResult, target: str, options: TransferOptions) -> None:
    """Permissions, and times if they are wanted: its own, those it had, or the usual ones."""
    _, mode, when, *_ = [*said.words["size"].split(), "", ""]
    permissions, seconds = reports.number(mode, 8), reports.number(when)
    if options.preserve and permissions is not None and seconds is not None:
        os.fchmod(file, permissions & 0o777)
        os.utime(file, (seconds, seconds))
        return
    try:
        os.fchmod(file, os.stat(target).st_mode & 0o777)
    except FileNotFoundError:
        os.fchmod(file, 0o666 & ~mask())


def mask() -> int:
    """The process's mask. Linux tells it; elsewhere it is set for a moment, for all threads."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def position(file: int) -> int:
    """Where the session is in the file: the position is one for all who have it open."""
    try:
        return os.lseek(file, 0, os.SEEK_CUR)
    except OSError:
        return 0


async def checksum(file: int, size: int | None = None) -> str:
    return await threads.run(partial(_sha256, os.dup(file), size))


def _sha256(file: int, size: int | None) -> str:
    found, at = hashlib.sha256(), 0
    try:
        while data := os.pread(file, _PIECE if size is None else min(_PIECE, size - at), at):
            found.update(data)
            at += len(data)
    finally:
        os.close(file)
    return found.hexdigest()


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


@contextlib.contextmanager
def opened(path: str, flags: int, source: str, target: str) -> Iterator[int]:
    try:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise here(error, source, target) from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise TransferError(f"{source} to {target}: {path} is not a regular file")
        yield file
    except OSError as error:
        if isinstance(error, TransferError):
            raise
        raise here(error, source, target) from error
    finally:
        os.close(file)


def here(error: OSError, source: str, target: str) -> TransferError:
    """The error for one of this machine."""
    if isinstance(error, TransferError):
        return error
    kinds: dict[int, Callable[[str], TransferError]] = {
        errno.ENOENT: SourceNotFound,
        errno.ENOTDIR: SourceNotFound,
        errno.EACCES: TransferDenied,
        errno.EPERM: TransferDenied,
        errno.EROFS: TransferDenied,
        errno.ENOSPC: NoSpaceLeft,
        errno.EDQUOT: NoSpaceLeft,
        errno.EFBIG: NoSpaceLeft,
    }
    kind = kinds.get(error.errno or 0, TransferError)
    where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
    return kind(f"{source} to {target}: {str(error.strerror or error).lower()} here{where}")
