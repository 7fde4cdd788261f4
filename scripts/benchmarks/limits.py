"""What a run needs of the system."""

from __future__ import annotations

import contextlib
import resource

_DESCRIPTORS = 4096


def raise_descriptor_limit() -> None:
    """Hundreds of sessions at once need more than the usual 1024, or macOS's 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
