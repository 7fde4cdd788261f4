"""Wall-clock time that never jumps: read once at import, then carried on by the monotonic clock.

Ages and idle times are differences of these figures, so a corrected system clock neither
recycles a whole pool at once nor keeps a connection for ever; yet they still read as timestamps.
"""

from __future__ import annotations

import time

_OFFSET = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch, as of this process's start plus the time that really passed."""
    return _OFFSET + time.monotonic()
