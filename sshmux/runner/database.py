"""Database: which clusters there are, for programs that do not want to keep that themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ..config import ConnectionConfig
from ..errors import ConfigError, StoreError
from ..openssh.config_hosts import named_hosts
from .handle import cluster_of, cluster_text
from .store import connect, default_path, transaction

_OWN = ("host", "port", "username", "key_file")
_OPTIONS = frozenset(each.name for each in dataclasses.fields(ConnectionConfig)) - set(_OWN)


@dataclass(frozen=True)
class ClusterRow:
    """A cluster of the catalogue.

    Attributes:
        id: what it is registered as.
        name: for users.
        options: further keywords of `register_cluster`.
    """

    id: Hashable
    name: str
    host: str
    port: int = 22
    username: str | None = None
    key_file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Registers(Protocol):
    """A manager, as far as it is needed."""

    @property
    def register_cluster(self) -> Callable[..., None]:
        """See `ConnectionManager.register_cluster`."""


class Database:
    """The clusters of this user, in the file where a `RemoteRunner` keeps its jobs.

    It holds no secret: passwords are the keyring's. Its methods block for a moment, and several
    programs may use the file at once.

    Parameters:
        path: the file; None for the platform's place for it (`$SSHMUX_STORE`).

    Raises `StoreError` when the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = default_path() if path is None else Path(path)
        self._database = connect(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def get_clusters(self) -> list[ClusterRow]:
        """All clusters, by name."""
        rows = self._run("SELECT * FROM clusters ORDER BY name, id").fetchall()
        return [_row(row) for row in rows]

    def add_cluster(
        self,
        name: str,
        host: str,
        port: int = 22,
        username: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        *,
        id: Hashable = None,
        **options: Any,
    ) -> ClusterRow:
        """Adds a cluster.

        Parameters:
            id: an int or a str; None for the next free number.
            options: further keywords of `register_cluster`: `timeout=`, `ssh_options=`, ….

        Raises `ConfigError` for what cannot be registered, and for an id that is taken.
        """
        key = None if key_file is None else os.path.abspath(os.path.expanduser(key_file))
        with transaction(self._database):
            used = {row.id for row in self.get_clusters()}
            number = max((each for each in used if isinstance(each, int)), default=0) + 1
            row = ClusterRow(number if id is None else id, name, host, port, username, key, options)
            if row.id in used:
                raise ConfigError(
                    f"id={row.id!r} is another cluster's: leave it out, or take another"
                )
            self._put(row)
        return row

    def update_cluster(self, id: Hashable, **changes: Any) -> ClusterRow:
        """Changes fields of a cluster; None as an option's value removes it."""
        with transaction(self._database):
            row = self._get(id)
            own = {name: changes.pop(name) for name in ("name", *_OWN) if name in changes}
            if own.get("key_file") is not None:
                own["key_file"] = os.path.abspath(os.path.expanduser(own["key_file"]))
            options = {**row.options, **changes}
            kept = {name: value for name, value in options.items() if value is not None}
            row = dataclasses.replace(row, **own, options=kept)
            self._put(row)
        return row

    def remove_cluster(self, id: Hashable) -> None:
        """Removes a cluster; what is known of its jobs stays."""
        with transaction(self._database):
            self._get(id)
            self._run("DELETE FROM clusters WHERE id = ?", cluster_text(id))

    def import_ssh_config(self, path: str | os.PathLike[str] | None = None) -> list[ClusterRow]:
        """Adds the hosts that ssh_config names and that are not there yet; those added.

        What a name means stays ssh_config's: only the name is kept.
        """
        known = {row.host for row in self.get_clusters()}
        names = named_hosts(None if path is None else [Path(path)])
        more: dict[str, Any] = {} if path is None else {"config_file": os.path.abspath(path)}
        return [
            self.add_cluster(name, name, id=name, **more) for name in names if name not in known
        ]

    def register_all(self, manager: Registers) -> list[ClusterRow]:
        """Registers all clusters with a manager; those registered."""
        if not callable(getattr(manager, "register_cluster", None)):
            raise ConfigError(f"{manager!r}: give a ConnectionManager")
        rows = self.get_clusters()
        for row in rows:
            manager.register_cluster(row.id, **_keywords(row))
        return rows

    def _get(self, id: Hashable) -> ClusterRow:
        found = self._run("SELECT * FROM clusters WHERE id = ?", cluster_text(id)).fetchone()
        if found is None:
            raise ConfigError(f"no cluster has the id {id!r}")
        return _row(found)

    def _put(self, row: ClusterRow) -> None:
        check(row)
        self._run(
            "INSERT OR REPLACE INTO clusters (id, name, host, port, username, key_file, options)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(cluster_text(row.id), row.name, row.host, row.port, row.username, row.key_file),
            json.dumps(dict(row.options)),
        )

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"the store {str(self.path)!r} cannot be used: {error}") from error


def check(row: ClusterRow) -> None:
    """Whether it can be registered, and written down. Raises `ConfigError`."""
    if not isinstance(row.name, str) or not row.name.strip() or not row.name.isprintable():
        raise ConfigError(f"name={row.name!r}: use a text of one line")
    unknown = sorted(set(row.options) - _OPTIONS)
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: no options of a cluster; see register_cluster(). Secrets are "
            "the keyring's: sshmux password set"
        )
    try:
        json.dumps(dict(row.options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"options of {row.name!r}: {error}; use texts and numbers") from None
    keywords = _keywords(row)
    ConnectionConfig(**{**keywords, "key_file": _path(row.key_file)})


def _keywords(row: ClusterRow) -> dict[str, Any]:
    own = {name: getattr(row, name) for name in _OWN}
    return {**own, **row.options}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _row(row: sqlite3.Row) -> ClusterRow:
    names: Iterable[str] = ("name", *_OWN)
    return ClusterRow(
        id=cluster_of(row["id"]),
        options=json.loads(row["options"]),
        **{name: row[name] for name in names},
    )
