"""A tar of this machine, at one end of a pipe."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import psutil

from ..errors import ConfigError
from ..system.pipes import Reader
from ..system.processes import Child, spawn
from ..system.tasks import run_to_end

BROKEN = "ended by SIGPIPE"  # a tar whose reader has left: that one knows why
_KEPT = 16 * 1024  # bytes of what tar says
# What of the environment would change what tar does.
_FOREIGN = ("TAR_OPTIONS", "TAR_READER_OPTIONS", "TAR_WRITER_OPTIONS", "TAPE", "POSIXLY_CORRECT")


CHOSEN = ("--no-recursion", "--null", "-T", "-")  # the names come by `running`


class Tar:
    """A running tar, and our end of the pipe to it."""

    def __init__(self, child: Child, heard: Reader, end_of_pipe: int) -> None:
        self.child = child
        self.heard = heard
        self._end_of_pipe = end_of_pipe

    @contextlib.contextmanager
    def pipe(self) -> Iterator[int]:
        """Our end of the pipe, for the block only: tar waits for its end."""
        try:
            yield self._end_of_pipe
        finally:
            self.close()

    def close(self) -> None:
        """Closes our end of the pipe, if it is open."""
        end, self._end_of_pipe = self._end_of_pipe, -1
        if end >= 0:
            os.close(end)

    async def failure(self) -> tuple[int, str]:
        """Waits for its end: its status, and why it failed, in its words ("" if it did not)."""
        status = await self.child.wait()
        await self.heard.ended()
        said = os.fsdecode(self.heard.bytes()).strip()
        if status >= 0:
            return status, (said or f"exit status {status}" if status else "")
        return status, said or f"ended by {signal.Signals(-status).name}"

    def moved(self, way: str) -> int:
        """The bytes that it has read or written, where the system tells."""
        if sys.platform != "linux" or self.child.status is not None:
            return 0
        try:
            counters = psutil.Process(self.child.pid).io_counters()
        except (psutil.Error, OSError):
            return 0
        return int(counters.write_chars if way == "write" else counters.read_chars)


@contextlib.asynccontextmanager
async def running(
    words: Sequence[str],
    *,
    packs: bool,
    names: Iterable[str] | None = None,
    archive: int | None = None,
    holes: bool = False,
    keep: int | None = None,
) -> AsyncIterator[Tar]:
    """Runs tar with a pipe, for what it packs or unpacks; not for longer than the block.

    Parameters:
        names: of what is packed, for `CHOSEN` among the words.
        archive: an open file that is unpacked in place of what comes by the pipe.
        keep: a descriptor that its words name.
        holes: of files that have some only the rest is packed, where tar can do that.
    """
    with _listed(names) as listed:
        tar = _start(words, packs, listed if archive is None else archive, holes, keep)
    with contextlib.closing(tar.heard):
        try:
            yield tar
            await tar.heard.ended()
        finally:
            tar.close()
            if tar.child.status is None:
                await run_to_end(tar.child.end)


@contextlib.contextmanager
def _listed(names: Iterable[str] | None) -> Iterator[int | None]:
    """A file with the names, to be read."""
    if names is None:
        yield None
        return
    with tempfile.TemporaryFile() as file:
        file.writelines(os.fsencode(name) + b"\0" for name in names)
        file.seek(0)
        yield file.fileno()


def _start(
    words: Sequence[str], packs: bool, stdin: int | None, holes: bool, keep: int | None
) -> Tar:
    if shutil.which(words[0]) is None:
        raise ConfigError("tar was not found on this machine: install it, or use SFTP")
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as its:
        reading, writing = os.pipe()
        end_of_pipe, given = (reading, writing) if packs else (writing, reading)
        ours.callback(os.close, end_of_pipe)
        its.callback(os.close, given)
        heard, end = Reader.pipe(limit=_KEPT)
        ours.callback(heard.close)
        its.callback(os.close, end)
        pipe = {"stdout" if packs else "stdin": given}
        if stdin is not None:
            pipe["stdin"] = stdin
        child = spawn(words, stderr=end, env=_environment(holes), keep=keep, **pipe)
        ours.pop_all()
    return Tar(child, heard, end_of_pipe)


def _environment(holes: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    # macOS's tar would else add a file of its own for each file with extended attributes.
    own = {"LC_ALL": "C", "COPYFILE_DISABLE": "1"}
    if holes:
        own["TAR_OPTIONS"] = "--sparse"  # GNU's; others know nothing of it
    return kept | own


def knows_holes() -> bool:
    """Whether it can unpack an archive that tells of holes. (BusyBox's cannot.)"""
    return _program() in ("tar", "gtar", "bsdtar")


def unpacking(into: str, *, preserve: bool) -> list[str]:
    """The command line that unpacks an archive: no owners, and no times unless they are wanted.

    Never access lists, extended attributes or flags, which bsdtar, macOS's, sets with `-p`.
    """
    own, after = ["-i"] if _is_gnu() else [], list[str]()
    if _program() == "bsdtar":
        after = ["--no-acls", "--no-xattrs", "--no-fflags"]
    return ["tar", *own, "-xpof" if preserve else "-xmof", "-", *after, "-C", into]


def _is_gnu() -> bool:
    """Whether it can read one archive behind another, as busybox's tar on the remote makes them."""
    return sys.platform == "linux" and _program() == "tar"


def _program() -> str:
    """What the tar of this machine really is called: "tar", "bsdtar", "busybox"."""
    return os.path.basename(os.path.realpath(shutil.which("tar") or ""))
