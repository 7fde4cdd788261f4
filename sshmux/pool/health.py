"""Health checks: every idle connection, all at once, holding nothing meanwhile."""

from __future__ import annotations

import asyncio
import errno
import weakref
from collections.abc import Iterable
from typing import Protocol

from ..errors import Error
from ..text import logger
from .pool import Member, Pool

log = logger("sshmux.health")

# What this program lacks to ask with: nothing is known of the connection then.
_OURS = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Checker(Protocol):
    """Somebody who knows what to check."""

    async def check_health(self) -> None:
        """One round."""


async def check_regularly(ref: weakref.ref[Checker], interval: float) -> None:
    """A round every `interval` seconds, until it is cancelled, or the checker was forgotten.

    Only a weak reference: a task must not keep a manager alive that nobody else knows.
    """
    while True:
        await asyncio.sleep(interval)  # the interval is the event
        checker = ref()
        if checker is None:
            return
        try:
            await checker.check_health()
        except Exception:
            log.exception("a round of health checks failed")
        del checker


async def check_pools(pools: Iterable[Pool]) -> None:
    """One round over many clusters; a slow one does not delay the others' checks."""
    await asyncio.gather(
        *(
            check(pool, member)
            for pool in pools
            for member in pool.slots.members
            if not member.in_use
        )
    )


async def check(pool: Pool, member: Member) -> None:
    """`ssh -O check`, then `true`. The member can be borrowed meanwhile."""
    pool.counters.health_checks += 1
    try:
        await member.connection.check(pool.config.health_timeout)
    except (Error, TimeoutError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OURS:
            log.warning("slot %d of %r was not checked: %s", member.slot, pool.cluster_id, error)
        else:
            pool.check_failed(member, error)
    else:
        member.health_check_failures = 0
