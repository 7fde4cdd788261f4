"""Fork: the child gets copies of our descriptors, and none of the right to use them.

An event loop's selector is shared by parent and child (man 7 epoll): what the child takes out of
it the parent never hears of again. And a lease that the child holds keeps a master from leaving. So
what has descriptors and may live when a program forks says so here; the child's copy is closed at
once, without a word to the loop.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """What has descriptors that a child of ours must not keep."""

    def forget(self) -> None:
        """In the child: closes its copies, and is closed. Asks nothing of the event loop."""


_known: WeakSet[Inherited] = WeakSet()


def forget_in_child(thing: Inherited) -> None:
    """Has it forgotten by every process that is forked while it lives."""
    _known.add(thing)


def _forget() -> None:
    for thing in list(_known):
        with contextlib.suppress(Exception):
            thing.forget()
    _known.clear()


os.register_at_fork(after_in_child=_forget)
