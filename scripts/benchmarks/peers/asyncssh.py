"""asyncssh, in the event loop that sshmux has: both pay for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contestants import Coroutines

asyncssh: Any
try:
    import asyncssh
except ImportError:
    asyncssh = None


def connect(account: dict[str, Any]) -> Any:
    """To be awaited, or entered."""
    return asyncssh.connect(
        account["host"],
        account["port"],
        username=account["username"],
        client_keys=[account["key_file"]],
        known_hosts=account["known_hosts"],
        config=None,
        agent_path=None,
        compression_algs=["none"],
    )


def contestant(connections: Sequence[Any]) -> Coroutines:
    """Spreads its commands over open connections."""

    async def run(number: int, command: str, data: bytes) -> bytes:
        conn = connections[number % len(connections)]
        result = await conn.run(command, check=True, encoding=None, input=data or None)
        return bytes(result.stdout or b"")

    return Coroutines(run)
