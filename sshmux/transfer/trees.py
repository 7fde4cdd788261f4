"""Directories and many files, as streams: tar here, tar on the remote, a pipe between."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Sequence
from functools import partial
from itertools import chain

from ..errors import SourceChanged, SourceNotFound, TransferError, TransferInterrupted
from ..session.link import SIGNALLED
from ..system.tasks import run_to_end
from . import finding, local_tar, reports, scripts, unpack_scripts
from .arrival import Arrival
from .files import here, mask, threads
from .local_sources import Measure, measure
from .local_tar import knows_holes
from .options import TransferOptions
from .part import make_part, remove
from .progress import report_progress
from .remote import Remote, ScriptResult
from .sources import MOST_NAMES, Source, Stream, check_told, portions_of_names, streams

# What the remote tar leaves behind when the one here has left: as a shell tells it, or, where the
# shell has become tar, as each engine tells a signal.
_ENDED_BY_SIGPIPE = (128 + signal.SIGPIPE, 255, SIGNALLED)
_CHANGED = 1  # GNU tar's status when some files have changed while they were read


async def put_trees(
    remote: Remote,
    sources: Sequence[Source],
    target: str,
    options: TransferOptions,
    *,
    many: bool,
) -> tuple[int, int]:
    """Sends them; how many files, and their bytes.

    Parameters:
        many: several were named, so the target is a directory.
    """
    shown = ", ".join(source.path for source in sources)
    follow, selection = options.follow_symlinks, options.selection
    looking = partial(measure, sources, follow, selection, f"{shown} to {target}")
    try:
        found = await threads.run(looking)
    except OSError as error:
        raise here(error, shown, target) from error
    parts: list[list[str]] = []
    try:
        for stream in streams(sources, follow, selection):
            sending = partial(_send, remote, stream, shown, target, found, options, many=many)
            part = await sending(holes=True) if found.holes and knows_holes() else []
            parts.append(part or await sending(holes=False))
        for part in list(parts):
            done = await remote.run(scripts.words(unpack_scripts.MERGE, *part))
            parts.remove(part)  # it removes what is left of it by itself
            if "done" not in done.words:
                raise reports.failure(done.stderr, done.status, shown, target)
    except BaseException:
        if parts:
            await remote.tidy(*chain(*parts))
        raise
    return found.files, found.size


async def _send(
    remote: Remote,
    stream: Stream,
    shown: str,
    target: str,
    found: Measure,
    options: TransferOptions,
    *,
    many: bool,
    holes: bool,
) -> list[str]:
    """Sends a stream: where it is then on the remote, and where it belongs.

    With `holes` those of files are told, not sent. Nothing where the remote cannot do that.
    """
    name = stream.sources[0].name or "."
    flags = options.flags + "i" * many + "c" * stream.contents + "z" * holes
    place = scripts.place(target, name, secrets.token_hex(6), flags)
    command = scripts.words(unpack_scripts.UNPACK, *place)
    names = _chosen(stream, found)
    running = local_tar.running(_packing(stream), packs=True, names=names, holes=holes)
    async with running as tar:
        moved = partial(tar.moved, "write")
        with (
            tar.pipe() as end_of_pipe,
            report_progress(options.progress, shown, target, found.size, moved),
        ):
            said = await remote.run(command, stdin=end_of_pipe)
        status, why = await tar.failure()
    if holes and "plain" in said.words:
        return []
    names = said.names
    if said.status != 0 or len(names) != 2:
        failed = reports.failure(said.stderr, said.status, shown, target)
        if why and why != local_tar.BROKEN:
            raise _local(why, shown, target) from failed
        raise failed
    if why and not (options.on_change == "accept" and status == _CHANGED):
        await remote.tidy(*names)
        raise _local(why, shown, target)
    return names


def _chosen(stream: Stream, found: Measure) -> list[str] | None:
    """The names of what goes, if not all of it does."""
    if stream.selection is None:
        return None
    return [
        os.path.join(name, path) if path else name
        for name, source in zip(stream.names, stream.sources, strict=True)
        for path in found.chosen[source.path]
    ]


def _packing(stream: Stream) -> list[str]:
    """The command line for an archive of them."""
    words = ["tar", "-chf" if stream.follow else "-cf", "-"]
    if stream.selection is not None:
        directory = os.path.join(os.path.abspath(stream.directory), "")
        return [*words, "-C", directory, *local_tar.CHOSEN]
    if stream.contents:
        return [*words, "-C", os.path.join(os.path.abspath(stream.paths[0]), ""), "."]
    last = None
    for source in stream.paths:
        whole = os.path.abspath(source)
        directory, name = os.path.split(whole)
        if directory != last:
            words += ["-C", directory]
            last = directory
        words.append(f"./{name}")
    return words


def _local(said: str, source: str, target: str) -> TransferError:
    error = reports.failure(said, 1, source, target)
    if type(error) is TransferError:
        return SourceChanged(f"{source} to {target}: tar here: {said}")
    return error


async def look(remote: Remote, named: Sequence[str], target: str) -> list[Source]:
    """What there is of what was named on the remote, patterns expanded."""
    found: list[Source] = []
    for some in portions_of_names(named):
        _, data = await remote.output(scripts.words(scripts.LOOK, *some))
        if data.count(b"\0") // 2 + len(found) > MOST_NAMES:
            raise TransferError(f"{', '.join(named)} to {target}: more than {MOST_NAMES} files")
        parts = os.fsdecode(data).split("\0")
        found += [Source(*pair) for pair in zip(parts[0:-1:2], parts[1:-1:2], strict=False)]
    if not found:
        raise TransferInterrupted(f"{', '.join(named)} to {target}: nothing was told of them")
    check_told(found, named, target)
    return list(dict.fromkeys(found))


async def get_trees(
    remote: Remote,
    sources: Sequence[Source],
    target: str,
    options: TransferOptions,
    *,
    many: bool,
) -> tuple[int, int]:
    """Fetches them; how many files, and their bytes. See `put_trees`."""
    shown = ", ".join(source.path for source in sources)
    inside, beside, last = await threads.run(partial(_place, target))
    if many and not inside:
        raise SourceNotFound(f"{shown} to {target}: there is no such directory here")
    try:
        part = await threads.run(partial(make_part, beside))
    except OSError as error:
        raise here(error, shown, target) from error
    try:
        for stream in streams(sources, options.follow_symlinks, options.selection):
            into = await threads.run(partial(_directory_for, stream, part.place, inside, last))
            await _receive(remote, stream, shown, target, into, part.descriptor, options)
        arrived = Arrival(
            *(f"{shown} to {target}", options.preserve, mask()),
            links=options.follow_symlinks is False,
            directories=options.recurse,
            selection=options.selection,
        )
        await threads.run(
            partial(_put_in_place, arrived, sources, part.place, beside, inside, last)
        )
        return arrived.files, arrived.size
    except OSError as error:
        if isinstance(error, TransferError):
            raise
        raise here(error, shown, target) from error
    finally:
        await run_to_end(partial(threads.run, partial(remove, part)))


def _place(target: str) -> tuple[bool, str, str]:
    """Whether it is a directory to put things into; where things go, and the last name of it."""
    whole = os.path.abspath(target)
    inside = os.path.isdir(whole)
    return inside, whole if inside else os.path.dirname(whole), os.path.basename(whole)


def _directory_for(stream: Stream, part: str, inside: bool, last: str) -> str:
    """Where a stream is unpacked: what is in a directory goes into one of its name."""
    name = stream.sources[0].name or ("" if inside else last)
    if not stream.contents or not name:
        return part
    os.mkdir(into := os.path.join(part, name))
    return into


def _put_in_place(
    arrived: Arrival, sources: Sequence[Source], part: str, beside: str, inside: bool, last: str
) -> None:
    first = sources[0].name
    names = {source.name for source in sources} if first else {last}
    if not inside:
        arrived.called = os.fsencode(first)
    if not first and inside:
        arrived.check(part, None)
    elif inside or not first or first == last:
        arrived.check(part, names)
    else:
        arrived.check(part, names, (first, last))
    arrived.move(part, beside)


async def _receive(
    remote: Remote,
    stream: Stream,
    shown: str,
    target: str,
    into: str,
    keep: int,
    options: TransferOptions,
) -> None:
    words = local_tar.unpacking(into, preserve=options.preserve)
    command = packing(stream, options, holes=knows_holes())
    async with local_tar.running(words, packs=False, keep=keep) as tar:
        moved = partial(tar.moved, "read")
        with tar.pipe() as end_of_pipe, report_progress(options.progress, shown, target, 0, moved):
            said = await remote.run(command, stdout=end_of_pipe)
        _, why = await tar.failure()
    if said.status != 0 and not (why and said.status in _ENDED_BY_SIGPIPE):
        raise _failed(said, shown, target)
    if why:
        raise _local(why, shown, target)
    if not complete(stream, said):
        raise _failed(said, shown, target)


def packing(stream: Stream, options: TransferOptions, *, holes: bool) -> list[str]:
    """The command that makes an archive on the remote; holes of files are told, if it may be."""
    flags = "-" + "i" * stream.contents + "h" * stream.follow + "a" * options.accepts
    flags += "z" * holes
    if stream.selection is None:
        return scripts.words(scripts.PACK, flags, *stream.paths)
    directory = stream.directory.rstrip("/") + "/"
    found = finding.chosen(stream.selection)
    return scripts.words(scripts.PACK_CHOSEN, flags, directory, *stream.names, *found)


def complete(stream: Stream, said: ScriptResult) -> bool:
    """Whether all that was chosen was found and packed."""
    if stream.selection is None:
        return True
    return said.words.get("found") == "0" and "failed" not in said.words


def _failed(said: ScriptResult, shown: str, target: str) -> TransferError:
    error = reports.failure(said.stderr, said.status, shown, target)
    if said.status == _CHANGED and type(error) is TransferError:
        return SourceChanged(f'{error} (on_change="accept" takes what is there)')
    return error
