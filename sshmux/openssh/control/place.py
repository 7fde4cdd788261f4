"""Where the control directory is, and whether nobody else can put another in its place.

Whoever can rename a directory above it can put a control socket of his own where ours was, and is
then sent the commands and their input. So every directory on the way is root's or ours, and closed
to others unless its sticky bit keeps them from each other's entries (as in /tmp).
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...checks import check_path
from ...text import logger
from . import naming

log = logger("sshmux.control")

_MOST_LINKS = 40  # as the kernel follows


def chosen_path(path: os.PathLike[str] | str | None) -> Path:
    """The control directory that was asked for, or the default one. Makes nothing.

    Raises `ConfigError` for what is no path, or none that ssh could be told.
    """
    found = check_path("control_dir", path)
    return default_path() if found is None else found


def default_path() -> Path:
    """`$SSHMUX_DIR`, else the first fit of: one in `$XDG_RUNTIME_DIR`, in `$TMPDIR`, in /tmp.

    What `$SSHMUX_DIR` says is taken as it is, fit or not: who set it will want to know.
    """
    chosen = check_path("$SSHMUX_DIR", os.environ.get("SSHMUX_DIR") or None)
    if chosen is not None:
        return chosen
    *candidates, last = _candidates()
    for path in candidates:
        reason = unfit(path)
        if reason is None:
            return path
        log.info("the control directory is not %s, which %s", path, reason)
    return last


def _candidates() -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and "${" not in runtime and _is_ours(runtime):
        yield Path(runtime) / "sshmux"
    own = f"sshmux-{os.geteuid()}"
    with contextlib.suppress(FileNotFoundError):  # nothing that it knows can be written to
        yield Path(tempfile.gettempdir()).absolute() / own
    yield Path("/tmp") / own  # noqa: S108 - a private directory, whose owner is checked


def _is_ours(path: str) -> bool:
    """Whether a directory belongs to this user: after `su` the variable is another's."""
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def unfit(path: Path) -> str | None:
    """Why a directory cannot be the control directory, in words that follow its path; or None.

    One that does not exist is looked at as if it were made.
    """
    return long(path) or unsafe_way(path) or (unsafe(path) if exists(path) else unmakeable(path))


def exists(path: Path) -> bool:
    """Whether there is anything of that name, a dangling link included."""
    return os.path.lexists(path)


def long(path: Path) -> str | None:
    """Why it is too long, or None."""
    if naming.label_room(path, "00") >= naming.MIN_LABEL:
        return None
    return f"is too long a path for control sockets (at most {naming.MAX_PATH} bytes with the name)"


def unmakeable(path: Path) -> str | None:
    """Why a missing directory cannot be made, as far as can be told beforehand."""
    above = next((parent for parent in path.parents if exists(parent)), Path("/"))
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return None
    return f"cannot be made: {above} cannot be written to"


def unsafe(path: Path) -> str | None:
    """Why a directory itself is not ours alone, or None."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link, which somebody else may have put there"
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory"
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}, not to you"
    if mode & 0o077:
        # Not `chmod 700`: what others have put there would be taken for ours afterwards.
        return f"is open to others (mode {mode:o}), so that what is in it may be theirs"
    if not os.access(path, os.W_OK | os.X_OK):
        return "cannot be written to"
    return None


def unsafe_way(path: Path) -> str | None:
    """Why others could put something else in a path's place, or None."""
    trusted = {0, os.geteuid(), os.stat("/").st_uid}  # in a user namespace, root has another number
    try:
        for place, status in _way(path):
            if status.st_uid not in trusted:
                return f"is below {place}, which belongs to user {status.st_uid}"
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISDIR(status.st_mode) and mode & 0o022 and not mode & stat.S_ISVTX:
                return f"is below {place}, where others can write (mode {mode:o})"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return None


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every directory and link that leads to a path, without the path itself.

    A link is followed by hand: realpath() would leave out the directories that only lead to it.
    Ends where there is nothing any more.
    """
    here = Path("/")
    yield here, os.lstat(here)
    names = list(reversed(path.parts[1:-1]))
    links = 0
    while names:
        place = here / names.pop()
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield place, status
        if not stat.S_ISLNK(status.st_mode):
            here = place
            continue
        links += 1
        if links > _MOST_LINKS:
            return  # the kernel refuses it, too
        target = Path(os.readlink(place))
        if target.is_absolute():
            here = Path("/")
        names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
