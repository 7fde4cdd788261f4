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
from .naming import (
    HOLDER_GLOB,
    HOLDER_SUFFIX,
    LOCK_SUFFIX,
    RECORD_GLOB,
    RECORD_SUFFIX,
    SOCKET_SUFFIX,
    TURN_GLOB,
)

# $1 directory, $2 owner's pid. A shell has no event to wait for here, so it looks every second,
# with builtins alone, and every five seconds after five minutes: a persistent master may stay.
# A shared master that others hold is left to their guardians.
_SCRIPT = f"""
trap '' HUP INT QUIT
cd "$1" || exit 0
while IFS= read -r line; do :; done
left=
field() {{ sed -n 's/.*"'"$1"'": *"\\{{0,1\\}}\\([^",]*\\).*/\\1/p' "$2" 2>/dev/null; }}
held() {{
    for holder in "$1".*{HOLDER_SUFFIX}; do
        pid=$(field owner_pid "$holder")
        [ "${{pid:-$2}}" = "$2" ] || ! kill -0 "$pid" 2>/dev/null || return 0
    done
    return 1
}}
watch() {{
    held "$1" "$2" && return
    master=$(field master_pid "$1{RECORD_SUFFIX}")
    case $master in *[!0-9]*) master= ;; esac
    # Without a master it is being dialled, by another manager of the same process if that lives.
    left="$left ${{master:-$2}}:$1"
    via=$(field via "$1{RECORD_SUFFIX}")
    if [ -n "$via" ] && [ -e "$via{RECORD_SUFFIX}" ]; then watch "$via" "$2"; fi
}}
for record in {RECORD_GLOB}; do
    grep -q '"owner_pid": '"$2," "$record" 2>/dev/null && watch "${{record%{RECORD_SUFFIX}}}" "$2"
done
for mine in {HOLDER_GLOB}; do
    grep -q '"owner_pid": '"$2," "$mine" 2>/dev/null || continue
    watch "${{mine%.*{HOLDER_SUFFIX}}}" "$2"
    kill -0 "$2" 2>/dev/null || rm -f -- "$mine"
done
if grep -q '"owner_pid": '"$2," {TURN_GLOB} 2>/dev/null; then
    sleep 2 # somebody may be waiting for just this turn, and writes down that it is his
    for turn in {TURN_GLOB}; do
        grep -q '"owner_pid": '"$2," "$turn" 2>/dev/null && rm -f -- "$turn" "${{turn%.lock}}.sock"
    done
fi
rounds=0
while [ -n "$left" ]; do
    still=
    for item in $left; do
        name=${{item#*:}}
        [ -e "$name{RECORD_SUFFIX}" ] || continue
        if kill -0 "${{item%%:*}}" 2>/dev/null; then
            still="$still $item"
        else
            rm -f -- "$name{SOCKET_SUFFIX}" "$name{RECORD_SUFFIX}" "$name{LOCK_SUFFIX}" \
                "$name".*{HOLDER_SUFFIX}
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
