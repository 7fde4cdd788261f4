"""Who has idle connections for a transfer: the pool, which is above this room."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..session.link import Link


class Helpers(Protocol):
    """Whoever has idle connections to the same cluster."""

    def guests(self, link: Link, most: int) -> AbstractContextManager[Sequence[Link]]:
        """Some that are idle, for the block; they can be borrowed by others all the same."""
