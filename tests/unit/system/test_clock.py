"""The clock that never jumps."""

from __future__ import annotations

import time

import pytest

from sshmux.system.clock import now


def test_it_reads_as_a_timestamp_and_goes_forward() -> None:
    first, second = now(), now()
    assert first <= second
    assert abs(first - time.time()) < 5


def test_a_corrected_system_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= now() - before < 5
