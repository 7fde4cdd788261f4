"""Single files with holes: they travel as an archive of tar, which tells where the holes are.

Only tar programs read such archives, never we. What a remote sends is unpacked in a private
directory, and one regular file of the name that was asked for is taken out of it.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from ..errors import TransferError
from . import local_tar, reports
from .part import make_part, remove
from .progress import ProgressHandler, report_progress

if TYPE_CHECKING:
    from .remote import Remote, ScriptResult

_LEAST = 64 * 1024  # bytes of holes that are worth it; the scripts know it, too


def has_holes(file: os.stat_result) -> bool:
    """Whether so much of a file is not on its disk that it is better told than sent."""
    return file.st_size - file.st_blocks * 512 >= _LEAST


async def send(
    remote: Remote,
    command: list[str],
    path: str,
    target: str,
    size: int,
    progress: ProgressHandler | None,
) -> tuple[ScriptResult, str]:
    """Sends a file of this machine. What came of it, and why tar here failed ("" if it did not)."""
    directory, name = os.path.split(path)
    words = ["tar", "-chf", "-", "-C", directory or ".", f"./{name}"]
    async with local_tar.running(words, packs=True, holes=True) as tar:
        moved = partial(tar.moved, "write")
        with tar.pipe() as end, report_progress(progress, path, target, size, moved):
            said = await remote.run(command, stdin=end)
        _, why = await tar.failure()
    return said, "" if why == local_tar.BROKEN else why


async def unpack(file: int, part: str, source: str, target: str) -> None:
    """Turns an archive into what is in it.

    Parameters:
        file, part: the archive, open and by its path. Afterwards both are the file itself.
        source: where it comes from; so it is called in the archive.

    Raises `TransferError` for anything else.
    """
    name = source.rpartition("/")[2]
    private = make_part(os.path.dirname(part) or ".")
    directory = private.place
    try:
        os.lseek(file, 0, os.SEEK_SET)
        words = local_tar.unpacking(directory, preserve=False)
        async with local_tar.running(
            words, packs=False, archive=file, keep=private.descriptor
        ) as tar:
            _, why = await tar.failure()
        if why:
            raise reports.failure(why, 1, source, target)
        unpacked = os.path.join(directory, name)
        if os.listdir(directory) != [name] or not _is_own(unpacked):
            raise TransferError(f"{source} to {target}: refused: it came as something else")
        os.chmod(unpacked, 0o600)
        opened = os.open(unpacked, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.replace(unpacked, part)
            os.dup2(opened, file, inheritable=False)
        finally:
            os.close(opened)
    finally:
        remove(private)


def _is_own(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()
