"""Whether a master that was left alone may be taken over instead of logging in."""

from __future__ import annotations

from ..config import ConnectionConfig
from ..errors import ConnectionLost, Error
from ..openssh.resolve import Resolved, resolve
from ..session.link import Link
from ..text import logger
from .lookup import hops

log = logger("sshmux.dial")


async def resolved_now(config: ConnectionConfig) -> list[Resolved]:
    """What ssh's configuration makes at this moment of the host, and of its jump hosts."""
    resolved = await resolve(config)
    return [resolved, *(found for _, found in await hops(config, resolved))]


async def still_works(link: Link, patience: float) -> bool:
    """Whether a master that was left alone for a while reaches its server.

    Any end that the server tells is an answer, a refusal too: there may be no shell.
    """
    try:
        await link.prove(patience)
    except (TimeoutError, ConnectionLost) as error:
        log.warning("%s: left alone, and does not answer any more: %r", link.master, error)
        return False
    except Error as error:
        log.debug("%s: %s", link.master, error)
    return True
