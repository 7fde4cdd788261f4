"""Background tasks of one owner."""

from __future__ import annotations

import asyncio

import pytest

from sshmux.system.tasks import TaskGroup


async def test_an_error_that_nobody_reads_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    group = TaskGroup()
    group.start(broken())
    await group.wait()
    assert "a background task failed" in caplog.text
    assert "RuntimeError: broken" in caplog.text


async def test_wait_includes_what_was_started_meanwhile() -> None:
    group, seen = TaskGroup(), []

    async def second() -> None:
        seen.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        seen.append("first")
        group.start(second())

    group.start(first())
    await group.wait()
    assert seen == ["first", "second"]


async def test_cancel_waits_until_they_are_gone(caplog: pytest.LogCaptureFixture) -> None:
    group, seen = TaskGroup(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("tidied up")

    group.start(work())
    await asyncio.sleep(0)
    await group.cancel()
    assert seen == ["tidied up"]
    assert caplog.text == ""
