"""Two million lines, followed while the connection is lost three times: each once, in order.

A hundred thousand in a soak of less than five minutes, as CI is.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sshmux import ClusterOptions, Job, RemoteRunner
from sshmux.testing import PrivateServer

from ..support import managed

pytestmark = [pytest.mark.soak, pytest.mark.both_engines, pytest.mark.timeout(900)]

LONG = float(os.environ.get("SSHMUX_SOAK_SECONDS", "600")) >= 300
LINES = 2_000_000 if LONG else 100_000


async def test_followed_over_three_losses(tmp_path: Path) -> None:
    job = Job(script=f"seq 1 {LINES}; printf 'no end'", login_shell=False)
    cluster = ClusterOptions(directory=str(tmp_path / "jobs"), scheduler="shell")
    losses = [LINES * quarter // 4 for quarter in (1, 2, 3)]
    async with PrivateServer(login_shell="/bin/sh") as server, managed(server) as manager:
        runner = RemoteRunner(manager, store=tmp_path / "store", clusters={1: cluster})
        async with runner:
            handle = await runner.submit(1, job)
            number = offset = 0
            last = ""
            async for line in runner.output(handle, follow=True):
                number += 1
                offset += len(line.text) + (number <= LINES)
                assert line.offset == offset
                last = line.text
                assert number > LINES or last == str(number)
                if number in losses:
                    server.drop_connections()
            assert (number, last) == (LINES + 1, "no end")
            assert (await runner.wait(handle, 60)).ok
        # Of few lines, what is on its way may reach beyond the next loss.
        assert server.logins > (len(losses) if LONG else 1)
