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

from ...system.forking import forget_in_child
from ...system.identity import ProcessId
from ...system.processes import Child, spawn
from .naming import RECORD_GLOB, RECORD_SUFFIX, SOCKET_SUFFIX

# $1 directory, $2 owner's pid. A shell has no event to wait for here, so it looks every second,
# with builtins alone, and every five seconds after five minutes: a persistent master may stay.
_SCRIPT = f"""
trap '' HUP INT QUIT
cd "$1" || exit 0
while IFS= read -r line; do :; done
left=
for record in {RECORD_GLOB}; do
    grep -q '"owner_pid": '"$2," "$record" 2>/dev/null || continue
    master=$(sed -n 's/.*"master_pid": *\\([0-9]*\\).*/\\1/p' "$record")
    # Without a master it is being dialled, by another manager of the same process if that lives.
    left="$left ${{master:-$2}}:${{record%{RECORD_SUFFIX}}}"
done
rounds=0
while [ -n "$left" ]; do
    still=
    for item in $left; do
        name=${{item#*:}}
        [ -e "$name{RECORD_SUFFIX}" ] || continue
        if kill -0 "${{item%%:*}}" 2>/dev/null; then
            still="$still $item"
        else
            rm -f -- "$name{SOCKET_SUFFIX}" "$name{RECORD_SUFFIX}"
        fi
    done
    left=$still
    rounds=$((rounds + 1))
    if [ -n "$left" ]; then
        if [ $rounds -lt 300 ]; then sleep 1; else sleep 5; fi
    fi
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
        forget_in_child(self)

    def forget(self) -> None:
        """In a forked child: closes its copy, which would keep the guardian waiting."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    async def close(self) -> None:
        """Ends it: everything was tidied up without it."""
        self._child.kill(signal.SIGKILL)
        await self._child.wait()
        self.abandon()

    def abandon(self) -> None:
        """Lets it go about its work: the pipe is closed, as a crash would do."""
        if self._pipe >= 0:
            with contextlib.suppress(OSError):
                os.close(self._pipe)
            self._pipe = -1
            self._child.leave()
