"""Writes docs/reliability.md from what a run of the whole table saw: never by hand."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from .table import FAULTS, LOG_INS, SITUATIONS

_HEAD = """\
# Reliability

What becomes of what is under way when something goes wrong, and how soon the caller knows. Each
line was really done, on a real sshd, and written by `scripts/faults`:

- {date}, {system}, Python {python}
- {ssh}
- `keepalive_interval=1`. With the default of 60 a network that swallows everything, and a server
  that is frozen, are known after 3 to 4 minutes, and a master that is stopped after 15 s

Each run also asserts that the next borrower gets a connection that works within 15 s, that another
cluster goes on, and that no process, socket, record, descriptor, task or temporary file is left.

The default test suite runs a tenth of the lines, chosen by the day; `SSHMUX_FAULTS=NUMBER` has them
again, or others.

"goes on": it is finished as if nothing had happened. Seconds: from the fault to the end, on the
`ssh` and on the `mux` engine.
"""


def page(lines: list[list[object]], date: str) -> str:
    """The page. `lines`: fault, situation, engine, what was told, seconds."""
    seen: dict[tuple[object, object], dict[object, list[object]]] = defaultdict(dict)
    for fault, doing, engine, told, seconds in lines:
        seen[fault, doing][engine] = [told, seconds]
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    head = _HEAD.format(
        date=date,
        ssh=version.partition(",")[0].strip(),
        system=platform.system(),
        python=".".join(map(str, sys.version_info[:2])),
    )
    parts = [head]
    for name, fault in FAULTS.items():
        parts.append(f"\n## {fault.words[0].upper()}{fault.words[1:]}\n\n")
        parts.append(f"Known within {fault.bound:g} s at the most.\n\n")
        for doing, situation in {**SITUATIONS, **LOG_INS}.items():
            told = seen[name, doing]
            if not told:
                raise SystemExit(f"{name}, {doing}: was not run")
            what = (situation.__doc__ or doing).partition(".")[0]
            parts.append(f"- {what[0].lower()}{what[1:]}: {_told(told)}\n")
    return "".join(parts)


def _told(engines: dict[object, list[object]]) -> str:
    words = {str(told) for told, _ in engines.values()}
    seconds = " / ".join(f"{engines[each][1]}" for each in ("ssh", "mux") if each in engines)
    shown = " or ".join(each if each == "goes on" else f"`{each}`" for each in sorted(words))
    return f"{shown}, {seconds} s"


if __name__ == "__main__":
    import time

    text = Path(sys.argv[1]).read_text("utf-8")
    print(page([json.loads(line) for line in text.splitlines()], time.strftime("%Y-%m-%d")), end="")
