"""The guardian: a shell that outlives a killed manager just long enough to tidy up after it.

A killed manager's masters leave by themselves, and take their sockets along; but nobody would
remove the records beside them. So the first log-in of a manager starts this: one /bin/sh
(about 1 MB), blocked on a pipe whose other end only the manager holds. At the pipe's end it waits
until each master named in the manager's records is gone, removes socket and record, and exits. It
is ended, unneeded, by a clean `stop()`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from .controldir import RECORD_SUFFIX, SOCKET_SUFFIX
from .processes import Child, ProcessId, spawn

# $1 directory, $2 owner's pid. The pauses double up to a minute: a persistent master may
# stay for hours, and there is no event that a shell could wait for.
_SCRIPT = f"""
trap '' HUP INT QUIT
cd "$1" || exit 0
while IFS= read -r line; do :; done
pause=1
while :; do
    left=0
    for record in *{RECORD_SUFFIX}; do
        grep -q "\\"owner_pid\\": $2," "$record" 2>/dev/null || continue
        name=${{record%{RECORD_SUFFIX}}}
        master=$(sed -n 's/.*"master_pid": *\\([0-9]*\\).*/\\1/p' "$record")
        if [ -n "$master" ] && kill -0 "$master" 2>/dev/null; then
            left=1
        elif [ -z "$master" ] && kill -0 "$2" 2>/dev/null; then
            left=1  # another manager of the same process is dialling
        else
            rm -f -- "$name{SOCKET_SUFFIX}" "$record"
        fi
    done
    [ $left = 0 ] && exit 0
    sleep $pause
    [ $pause -lt 60 ] && pause=$((pause * 2))
done
"""


class Guardian:
    """Started once per manager and control directory, ended by `close()`."""

    def __init__(self, directory: Path, owner: ProcessId) -> None:
        reading, self._pipe = os.pipe()
        try:
            self._child: Child = spawn(
                ["/bin/sh", "-c", _SCRIPT, "sshmux-guardian", str(directory), str(owner.pid)],
                stdin=reading,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)

    async def close(self) -> None:
        """Ends it: everything was tidied up in person."""
        self._child.kill(signal.SIGKILL)
        self.abandon()
        await self._child.wait()

    def abandon(self) -> None:
        """Lets it go about its work: the pipe is closed, as a crash would do."""
        if self._pipe >= 0:
            with contextlib.suppress(OSError):
                os.close(self._pipe)
            self._pipe = -1
