"""What is registered with a manager."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass

from ..config import ConnectionConfig
from ..errors import ConfigError
from .pool import Pool


@dataclass
class Cluster:
    """One id, what it stands for, and its pool once it is used in a loop."""

    id: Hashable
    config: ConnectionConfig
    pool: Pool | None = None

    @property
    def label(self) -> str:
        """Its name for users: a number alone says little in `ls`."""
        return self.id if isinstance(self.id, str) else f"{self.id}-{self.config.host}"


class ClusterRegistry:
    """The clusters of one manager, by their ids."""

    def __init__(self) -> None:
        self._clusters: dict[Hashable, Cluster] = {}

    def __contains__(self, cluster_id: Hashable) -> bool:
        return cluster_id in self._clusters

    def __len__(self) -> int:
        return len(self._clusters)

    def __getitem__(self, cluster_id: Hashable) -> Cluster:
        """Raises `ConfigError` when it is not registered."""
        try:
            return self._clusters[cluster_id]
        except KeyError:
            raise ConfigError(
                f"Cluster {cluster_id!r} not registered: call register_cluster() first"
            ) from None

    def configs(self) -> dict[Hashable, ConnectionConfig]:
        """What each id stands for."""
        return {cluster.id: cluster.config for cluster in self._clusters.values()}

    def put(self, cluster_id: Hashable, config: ConnectionConfig) -> Cluster | None:
        """Registers it; returns the one that it replaces. One that is the same stays as it is."""
        hash(cluster_id)
        known = self._clusters.get(cluster_id)
        if known is not None and known.config == config:
            if known.pool is not None:
                known.pool.dialler.reset()
            return None
        self._clusters[cluster_id] = Cluster(cluster_id, config)
        return known

    def remove(self, cluster_id: Hashable) -> Cluster:
        """Raises `ConfigError` when it is not registered."""
        cluster = self[cluster_id]
        del self._clusters[cluster_id]
        return cluster

    def pools(self) -> list[Pool]:
        """Those of the clusters that were used in this loop."""
        return [cluster.pool for cluster in self._clusters.values() if cluster.pool is not None]

    def take_pools(self) -> list[Pool]:
        """As `pools`; the clusters then have none any more."""
        pools = self.pools()
        for cluster in self._clusters.values():
            cluster.pool = None
        return pools

    def reset_login(self, cluster_id: Hashable | None) -> None:
        """A log-in that was refused may be tried again: to this cluster, or (None) to all."""
        for cluster in self._clusters.values():
            if cluster.pool is not None and cluster_id in (None, cluster.id):
                cluster.pool.dialler.reset()


def in_this_loop(pool: Pool) -> bool:
    """Clusters may be registered and unregistered without any loop."""
    try:
        return pool.loop is asyncio.get_running_loop()
    except RuntimeError:
        return False
