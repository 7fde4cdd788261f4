"""Events and their subscribers."""

from __future__ import annotations

import logging

import pytest

from sshmux.pool.events import Event, Events, State

EVENT = Event("hpc", 1, State.CREATED, State.IN_USE, "borrowed", 100.0)


def test_subscribers_are_told_in_their_order_until_they_leave() -> None:
    events, seen = Events(), []
    leave = events.subscribe(lambda event: seen.append(("a", event)))
    events.subscribe(lambda event: seen.append(("b", event)))
    events.emit(EVENT)
    leave()
    leave()
    events.emit(EVENT)
    assert seen == [("a", EVENT), ("b", EVENT), ("b", EVENT)]


def test_a_subscriber_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events, seen = Events(), []

    def broken(event: Event) -> None:
        raise RuntimeError("broken")

    events.subscribe(broken)
    events.subscribe(seen.append)
    events.emit(EVENT)
    assert seen == [EVENT]
    assert "subscriber" in caplog.text
    assert "RuntimeError: broken" in caplog.text


def test_a_subscriber_may_leave_while_it_is_told() -> None:
    events, seen = Events(), []

    def once(event: Event) -> None:
        seen.append("once")
        leave()

    leave = events.subscribe(once)
    events.subscribe(lambda event: seen.append("always"))
    events.emit(EVENT)
    events.emit(EVENT)
    assert seen == ["once", "always", "always"]


def test_events_are_logged_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sshmux.pool"):
        Events().emit(EVENT)
        Events().emit(Event("hpc", 2, None, None, "the log-in failed", 1.0, OSError("x")))
    assert "cluster 'hpc' slot 1: created -> in use (borrowed)" in caplog.text
    assert "slot 2: - -> - (the log-in failed)" in caplog.text
