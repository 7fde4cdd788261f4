"""Copies of a connection: what `Connection` inherits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from ..session.execution import Scope
from ..session.link import Link
from ..system.descriptors import told_limit
from .helpers import Helpers

if TYPE_CHECKING:
    from ..session.completed import CompletedProcess
    from ..session.objects import Inlet, Writable
    from ..system.selection import Patterns
    from .progress import ProgressHandler
    from .remote import Remote
    from .transfers import TransferResult

AnyPath = str | bytes | os.PathLike[str]
Paths = AnyPath | Sequence[AnyPath]
OnChange = Literal["error", "accept"]

_MOST_STREAMS = 64


class TransferMethods:
    """Files and trees, to there and from there."""

    _link: Link
    _scope: Scope
    _helpers: Helpers | None

    async def put(
        self,
        localpaths: Paths | Inlet,
        remotepath: AnyPath = ".",
        *,
        recurse: bool = False,
        preserve: bool = False,
        atomic: bool = True,
        resume: bool = False,
        verify: str | None = None,
        parents: bool = False,
        follow_symlinks: bool | None = None,
        on_change: OnChange = "error",
        exclude: Patterns = (),
        include: Patterns = (),
        streams: int = 1,
        progress: ProgressHandler | None = None,
    ) -> TransferResult:
        """Sends files. Their bytes go from the file to the session, not through Python.

        One file goes under a temporary name first: whoever reads the target never sees half of it,
        and a failure leaves what was there. Directories, and several files, go as one stream (both
        sides need `tar`), into a temporary directory, and then into their places, each in one step.

        Parameters:
            localpaths: a file or directory, or several, or patterns. Or an object with a `read`,
                or an asynchronous iterable, of bytes or text: then `remotepath` names the file.
            remotepath: a name, or a directory to put them into; from the home, or `~/…`.
            recurse: take directories.
            preserve: keep permissions and times.
            atomic: False writes a single file straight into its place.
            resume: keep what was sent of a single file if it is interrupted, and go on from there
                the next time, if it is the same file still.
            verify: "sha256" compares checksums before the file takes its place.
            parents: make the directories that are missing.
            follow_symlinks: True moves what all links lead to, False no link's content; None that
                of links which are named, while links inside of directories are moved as links.
            on_change: "accept" takes what there is of a file that changes while it is read.
            exclude: a pattern, or several, of what is left out, with all that is in it: `*.o`,
                `build/` (directories), `/data/tmp/**` (from the name of a source on).
            include: patterns of the only files that are taken, or of directories which hold them.
            streams: how many sessions one large file may go over at once, where the way is long
                and the line fast: see docs/files.md. Fewer if there is no room for more.
            progress: called with source, target, the bytes so far and in all, ten times a second.

        Raises:
            TransferError: or one below it, for this failure; its `moved` and `not_moved` tell.
            ConfigError: what cannot be meant.
            What `run` raises, but for `ProcessError` and `ProcessTimeout`.
        """
        with told_limit():
            from ..session.objects import is_inlet
            from .transfers import put

            options = _how(
                *(recurse, preserve, atomic, resume, verify, parents, progress),
                *(follow_symlinks, on_change, exclude, include, streams),
            )
            if is_inlet(localpaths):
                from .objects import put_object

                source = cast("Inlet", localpaths)
                return await put_object(self._link, self._scope, source, remotepath, options)
            paths = cast("Paths", localpaths)
            return await put(self._link, self._scope, paths, remotepath, options, self._helpers)

    async def rsync(
        self, source: AnyPath, destination: AnyPath, *options: str
    ) -> CompletedProcess[str]:
        """Runs this machine's rsync over the connection; both sides must have it.

        Parameters:
            source, destination: as rsync takes them; the remote one has a colon in front, as
                in `":data/"`.
            options: rsync's own, such as "-a" or "--delete".

        Raises `ConfigError` where there is no rsync, `TransferError` when it fails, and what
        `run` raises.
        """
        from .rsync import rsync

        there, here = os.fsdecode(source), os.fsdecode(destination)
        return await rsync(self._link, self.transfers(), there, here, options)

    def transfers(self) -> Remote:
        """What `sshmux.copy` uses."""
        from .remote import Remote

        return Remote(self._link, self._scope)

    async def get(
        self,
        remotepaths: Paths,
        localpath: AnyPath | Writable = ".",
        *,
        recurse: bool = False,
        preserve: bool = False,
        atomic: bool = True,
        resume: bool = False,
        verify: str | None = None,
        parents: bool = False,
        follow_symlinks: bool | None = None,
        on_change: OnChange = "error",
        exclude: Patterns = (),
        include: Patterns = (),
        streams: int = 1,
        progress: ProgressHandler | None = None,
    ) -> TransferResult:
        """Fetches files: see `put`, with the sides exchanged. Patterns are the remote's.

        `localpath` may be an object with a `write`, for one file: it gets its content once that
        has arrived whole.

        Links inside of a directory that lead out of it are left out, with a warning in the log.
        """
        with told_limit():
            from ..session.objects import is_outlet
            from .transfers import get

            options = _how(
                *(recurse, preserve, atomic, resume, verify, parents, progress),
                *(follow_symlinks, on_change, exclude, include, streams),
            )
            if is_outlet(localpath):
                from .objects import get_object

                target = cast("Writable", localpath)
                return await get_object(self._link, self._scope, remotepaths, target, options)
            place = cast("AnyPath", localpath)
            return await get(self._link, self._scope, remotepaths, place, options, self._helpers)


def _how(
    recurse: bool,
    preserve: bool,
    atomic: bool,
    resume: bool,
    verify: str | None,
    parents: bool,
    progress: Any,
    follow_symlinks: bool | None,
    on_change: str,
    exclude: Patterns,
    include: Patterns,
    streams: int,
) -> Any:
    from ..checks import check_function, check_int
    from ..errors import ConfigError
    from ..system.selection import Selection
    from .options import TransferOptions

    if verify not in (None, "sha256"):
        raise ConfigError(f'verify={verify!r}: use "sha256", or None')
    if not atomic and (resume or verify):
        raise ConfigError("atomic=False: there is nothing to resume, or to verify before it counts")
    if on_change not in ("error", "accept"):
        raise ConfigError(f'on_change={on_change!r}: use "error" or "accept"')
    check_int("streams", streams, 1, _MOST_STREAMS)
    if follow_symlinks not in (True, False, None):
        raise ConfigError(f"follow_symlinks={follow_symlinks!r}: use True, False or None")
    if progress is not None:
        check_function("progress", progress)
    return TransferOptions(
        *(preserve, atomic, resume, verify, parents, recurse, progress),
        *(follow_symlinks, on_change, Selection.of(exclude, include), streams),
    )
