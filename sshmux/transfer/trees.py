"""Directories and many files, as one stream: tar here, tar on the remote, a pipe between."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

import psutil

from ..errors import ConfigError, SourceChanged, SourceNotFound, TransferError, TransferInterrupted
from ..session.link import SIGNALLED
from ..system.pipes import Reader
from ..system.processes import Child, spawn
from ..system.tasks import run_to_end
from . import scripts
from .files import TransferOptions, here, threads
from .progress import report_progress
from .remote import Remote, ScriptResult

_BROKEN = "ended by SIGPIPE"  # a tar whose reader has left: that one knows why
# What the remote tar leaves behind when the one here has left: as a shell tells it, or, where the
# shell has become tar, as each engine tells a signal.
_ENDED_BY_SIGPIPE = (128 + signal.SIGPIPE, 255, SIGNALLED)
_KEPT = 16 * 1024  # bytes of what tar says


async def put_trees(
    remote: Remote, sources: Sequence[str], target: str, options: TransferOptions
) -> tuple[int, int]:
    """Sends them; how many files, and their bytes."""
    files, total = await threads.run(partial(_measure, sources, options.recurse, target))
    token = secrets.token_hex(6)
    into = "i" if len(sources) > 1 else ""
    words, name = _packing(sources)
    command = scripts.words(
        scripts.UNPACK, *scripts.place(target, name, token, options.flags + into)
    )
    end = f".sshmux-{token}-end"
    with tempfile.TemporaryDirectory(prefix="sshmux-") as scratch:
        os.close(os.open(os.path.join(scratch, end), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        words += ["-C", scratch, f"./{end}"]
        shown = ", ".join(sources)
        async with _tar(words, packs=True) as tar:
            moved = partial(_moved, tar.child, "write")
            with (
                tar.pipe() as end_of_pipe,
                report_progress(options.progress, shown, target, total, moved),
            ):
                said = await remote.run(command, stdin=end_of_pipe)
            why = await tar.failure()
    names = said.names
    if said.status != 0 or len(names) != 2:
        failed = scripts.failure(said.stderr, said.status, shown, target)
        if why and why != _BROKEN:
            raise _local(why, shown, target) from failed
        raise failed
    if why:
        await remote.tidy(names[0])
        raise _local(why, shown, target)
    try:
        done = await remote.run(scripts.words(scripts.MERGE, *names))
    except BaseException:
        await remote.tidy(names[0])
        raise
    if "done" not in done.words:
        raise scripts.failure(done.stderr, done.status, shown, target)
    return files, total


def _packing(sources: Sequence[str]) -> tuple[list[str], str]:
    """The command line for an archive of them, and the name of the first in it."""
    words = ["tar", "-cf", "-"]
    for source in sources:
        whole = os.path.abspath(source)
        words += ["-C", os.path.dirname(whole), f"./{os.path.basename(whole)}"]
    return words, os.path.basename(os.path.abspath(sources[0]))


def _local(said: str, source: str, target: str) -> TransferError:
    error = scripts.failure(said, 1, source, target)
    if type(error) is TransferError:
        return SourceChanged(f"{source} to {target}: tar here: {said}")
    return error


async def look(remote: Remote, named: Sequence[str], target: str) -> list[tuple[str, str]]:
    """What is there of what was named, patterns expanded: its kind (f, d, o) and its name."""
    _, data = await remote.output(scripts.words(scripts.LOOK, *named))
    parts = os.fsdecode(data).split("\0")
    found = list(zip(parts[0:-1:2], parts[1:-1:2], strict=False))
    for kind, name in found:
        if kind == "x":
            raise SourceNotFound(f"{name} to {target}: there is no such file on the remote")
    if not found:
        raise TransferInterrupted(f"{', '.join(named)} to {target}: nothing was told of them")
    return found


async def get_trees(
    remote: Remote, sources: Sequence[str], target: str, options: TransferOptions
) -> tuple[int, int]:
    """Fetches them; how many files, and their bytes."""
    if not options.recurse and len(sources) == 1:
        raise TransferError(f"{sources[0]} to {target}: that is a directory: use recurse=True")
    shown = ", ".join(sources)
    inside, beside, last = await threads.run(partial(_place, target))
    if len(sources) > 1 and not inside:
        raise SourceNotFound(f"{shown} to {target}: there is no such directory here")
    try:
        part = await threads.run(partial(tempfile.mkdtemp, prefix=".sshmux-", dir=beside))
    except OSError as error:
        raise here(error, shown, target) from error
    try:
        said, why = await _receive(remote, sources, shown, target, part, options)
        if said.status != 0 and not (why and said.status in _ENDED_BY_SIGPIPE):
            raise scripts.failure(said.stderr, said.status, shown, target)
        if why:
            raise _local(why, shown, target)
        if not inside:
            name = os.path.basename(sources[0].rstrip("/"))
            os.rename(os.path.join(part, name), os.path.join(part, last))
        counted = await threads.run(partial(_measure, _below(part), True, target))
        await threads.run(partial(_merge, part, beside))
        return counted
    finally:
        await run_to_end(partial(threads.run, partial(shutil.rmtree, part, ignore_errors=True)))


def _place(target: str) -> tuple[bool, str, str]:
    """Whether it is a directory to put things into; where things go, and the last name of it."""
    whole = os.path.abspath(target)
    inside = os.path.isdir(whole)
    return inside, whole if inside else os.path.dirname(whole), os.path.basename(whole)


async def _receive(
    remote: Remote,
    sources: Sequence[str],
    shown: str,
    target: str,
    part: str,
    options: TransferOptions,
) -> tuple[ScriptResult, str]:
    words = ["tar", "-xpf" if options.preserve else "-xf", "-", "-C", part]
    command = scripts.words(scripts.PACK, "-", *sources)
    async with _tar(words, packs=False) as tar:
        moved = partial(_moved, tar.child, "read")
        with tar.pipe() as end_of_pipe, report_progress(options.progress, shown, target, 0, moved):
            said = await remote.run(command, stdout=end_of_pipe)
        return said, await tar.failure()


class _Tar:
    """A tar of this machine, and our end of the pipe to it."""

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

    async def failure(self) -> str:
        """Waits for its end. Why it failed, in its words; nothing if it did not."""
        status = await self.child.wait()
        await self.heard.ended()
        said = os.fsdecode(self.heard.bytes()).strip()
        if status >= 0:
            return said or f"exit status {status}" if status else ""
        return said or f"ended by {signal.Signals(-status).name}"


@contextlib.asynccontextmanager
async def _tar(words: Sequence[str], *, packs: bool) -> AsyncIterator[_Tar]:
    """Runs tar with a pipe, for what it packs or unpacks; not for longer than the block."""
    tar = _start(words, packs)
    with contextlib.closing(tar.heard):
        try:
            yield tar
            await tar.heard.ended()
        finally:
            tar.close()
            if tar.child.status is None:
                await run_to_end(tar.child.end)


def _start(words: Sequence[str], packs: bool) -> _Tar:
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
        child = spawn(words, stderr=end, env=dict(os.environ, LC_ALL="C"), **pipe)
        ours.pop_all()
    return _Tar(child, heard, end_of_pipe)


def _moved(child: Child, way: str) -> int:
    """The bytes that a process has read or written, where the system tells."""
    if sys.platform != "linux" or child.status is not None:
        return 0
    try:
        counters = psutil.Process(child.pid).io_counters()
    except (psutil.Error, OSError):
        return 0
    return int(counters.write_chars if way == "write" else counters.read_chars)


def _below(path: str) -> list[str]:
    return [entry.path for entry in os.scandir(path)]


def _measure(sources: Sequence[str], recurse: bool, target: str) -> tuple[int, int]:
    """How many files there are, and their bytes."""
    files = size = 0
    for source in sources:
        found = os.lstat(source)
        if stat.S_ISDIR(found.st_mode):
            if not recurse:
                raise TransferError(f"{source} to {target}: a directory: use recurse=True")
            for parent, below, names in os.walk(source):
                links = [name for name in below if os.path.islink(os.path.join(parent, name))]
                for name in (*names, *links):
                    with contextlib.suppress(OSError):
                        size += os.lstat(os.path.join(parent, name)).st_size
                        files += 1
        else:
            files, size = files + 1, size + found.st_size
    return files, size


def _merge(source: str, target: str) -> None:
    """Moves what is in a directory into another one of the same file system, each in one step."""
    for entry in list(os.scandir(source)):
        there = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False) and os.path.isdir(there):
            _merge(entry.path, there)
        else:
            os.replace(entry.path, there)
