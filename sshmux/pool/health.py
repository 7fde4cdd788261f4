"""Health checks: every idle connection, all at once, holding nothing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..errors import Error
from .pool import Member, Pool


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
        pool.check_failed(member, error)
    else:
        member.health_check_failures = 0
