"""What a program can subscribe to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from ..text import logger

log = logger("sshmux.pool")


class State(Enum):
    """The states of a pooled connection."""

    CREATED = "created"
    IN_USE = "in use"
    AVAILABLE = "available"
    STALE = "stale"
    UNHEALTHY = "unhealthy"
    CLOSED = "closed"


@dataclass(frozen=True)
class Event:
    """A pooled connection changed its state, or a log-in failed.

    Attributes:
        cluster_id: whose.
        slot: the number of the slot; the second part of the control socket's name.
        old, new: the states; both None for a failed log-in.
        reason: why, in a few words.
        at: seconds since the epoch.
        error: what went wrong, if something did.
    """

    cluster_id: Hashable
    slot: int
    old: State | None
    new: State | None
    reason: str
    at: float
    error: Exception | None = None


Subscriber = Callable[[Event], object]


class Events:
    """Hands events on. A subscriber that raises is logged, and harms nobody."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber` with each event, in the event loop. Returns what undoes it."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    @property
    def wanted(self) -> bool:
        """Whether anybody listens or logs: a borrow should not pay for an event nobody sees."""
        return bool(self._subscribers) or log.isEnabledFor(logging.DEBUG)

    def emit(self, event: Event) -> None:
        """Logs the event and tells everybody."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "cluster %r slot %d: %s -> %s (%s)",
                event.cluster_id,
                event.slot,
                event.old.value if event.old else "-",
                event.new.value if event.new else "-",
                event.reason,
            )
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception as error:
                _report(subscriber, error)


def _report(subscriber: Subscriber, error: Exception) -> None:
    """To whoever handles what callbacks raise in this event loop; it is logged there by default."""
    message = f"a subscriber of sshmux's events failed: {subscriber!r}"
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        log.error(message, exc_info=error)  # noqa: TRY400 - it is that one's
    else:
        loop.call_exception_handler({"message": message, "exception": error})
