"""The figures of one pool."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .events import State
from .slots import PooledConnection, Slots

if TYPE_CHECKING:
    from ..session.link import Link


@dataclass
class Counters:
    """Sums since the cluster was registered. Times in seconds."""

    requests: int = 0
    requests_waited: int = 0
    requests_timed_out: int = 0
    requests_failed: int = 0
    wait_seconds: float = 0.0
    wait_seconds_max: float = 0.0
    usage_seconds: float = 0.0
    dials: int = 0
    dial_failures: int = 0
    dial_seconds: float = 0.0
    adopted: int = 0
    lost: int = 0
    expired: int = 0
    unhealthy: int = 0
    health_checks: int = 0
    health_check_failures: int = 0
    leaks: int = field(default=0)

    def waited(self, seconds: float) -> None:
        """A borrower had to wait."""
        self.requests_waited += 1
        self.wait_seconds += seconds
        self.wait_seconds_max = max(self.wait_seconds_max, seconds)


def metrics(slots: Slots[Any], counters: Counters, at: float) -> dict[str, Any]:
    """What `get_connection_metrics` returns: the seed's keys, and what psycopg_pool would tell."""
    members = [member for member in slots.members if not member.is_closed]
    in_use = sum(member.in_use for member in members)
    idle = [at - member.last_used for member in members if not member.in_use]
    return {
        "total_connections": len(members),
        "in_use": in_use,
        "available": len(members) - in_use,
        "avg_age_seconds": _mean([at - member.created_at for member in members]),
        "avg_idle_seconds": _mean(idle),
        "pool_size": slots.config.pool_size,
        "dialling": slots.dialling,
        "closing": slots.closing,
        "waiting": len(slots.waiters),
        "borrowers": sum(member.borrowers for member in members),
        "states": {
            state.value: sum(member.state is state for member in members) for state in State
        },
        "wait_seconds_avg": counters.wait_seconds / max(1, counters.requests_waited),
        **asdict(counters),
    }


def describe(member: PooledConnection[Link], at: float) -> dict[str, Any]:
    """One connection, for a table; its master's memory and processor time come from psutil."""
    master = member.connection.master
    usage = master.usage()
    return {
        "slot": member.slot,
        "state": member.state.value,
        "master_pid": master.pid,
        "control_path": str(master.entry.socket),
        "age_seconds": at - member.created_at,
        "idle_seconds": 0.0 if member.in_use else at - member.last_used,
        "borrowers": member.borrowers,
        "uses": member.uses,
        "sessions": member.connection.gate.inside,
        "session_limit": member.connection.gate.limit,
        "memory_bytes": usage.memory_bytes if usage else None,
        "cpu_seconds": usage.cpu_seconds if usage else None,
        "health_check_failures": member.health_check_failures,
    }


def _mean(values: list[float]) -> float:
    return max(0.0, sum(values) / len(values)) if values else 0.0
