"""What is registered with a manager."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from ..config import ConnectionConfig, field_names
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


def reject_unknown(more: dict[str, Any], config: type, where: str) -> None:
    """Raises `ConfigError` for keywords that are no fields of `config`."""
    known = field_names(config)
    for name in more:
        if name not in known:
            raise ConfigError(f"{where} has no parameter {name!r}: see its documentation")


class Done:
    """Something to await that is done already."""

    def __await__(self) -> Any:
        return iter(())
