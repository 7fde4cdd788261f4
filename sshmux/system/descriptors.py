"""How many descriptors are left: an error of ours, well before the system's EMFILE.

What else a program does with files would fail at the limit, too, and in stranger places.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Iterator

from ..errors import DescriptorLimit, Error

_ADVICE = "Raise the limit (`ulimit -n`, or resource.setrlimit), or run fewer commands at once"
_RESERVE = 64  # descriptors left for everything else
_SHARE = 8  # but not more than this part of all


def check_descriptor(descriptor: int) -> None:
    """Raises `DescriptorLimit` when the newest descriptor is close to the limit.

    The system gives out the lowest that is free (POSIX), so its number tells how many there are.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and descriptor >= soft - min(_RESERVE, soft // _SHARE):
        raise DescriptorLimit(
            f"this program has nearly all the {soft} descriptors open that it may have. {_ADVICE}"
        )


def free_descriptors(pid: int) -> int | None:
    """How many more another process may open; None where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/limits", encoding="utf-8") as limits:
            line = next(line for line in limits if line.startswith("Max open files"))
        soft = int(line.split()[3])
        return soft - sum(int(each) < soft for each in os.listdir(f"/proc/{pid}/fd"))
    except (OSError, ValueError, StopIteration):  # "unlimited" is no number
        return None


def check_errno(error: OSError) -> None:
    """Raises `DescriptorLimit` for the system's own word that there are too many.

    ETOOMANYREFS: too many are on their way to masters that do not take them (man 7 unix).
    """
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS):
        raise DescriptorLimit(f"{error.strerror}. {_ADVICE}") from error


@contextlib.contextmanager
def told_limit() -> Iterator[None]:
    """The same, for whatever is done in the block: files, pipes, and modules that are imported."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, Error):
            check_errno(error)
        raise
