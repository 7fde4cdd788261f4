"""The memory: an SQLite file, for several programs at once. Blocking; see `sshmux.system.tasks`.

The remote directories are the truth about jobs. This file knows which jobs there are, how far each
submission had come when the program was killed, and what was last seen.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from ..errors import StoreError

BUSY_TIMEOUT = 30.0  # seconds to wait for another program's write

#: Each brings the schema from version N to N + 1. Never change one that was released: add another.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        token TEXT NOT NULL,
        cluster TEXT NOT NULL,      -- handle.cluster_text()
        handle TEXT NOT NULL,
        key TEXT,
        digest TEXT NOT NULL,       -- of the job, so that a key cannot mean two
        name TEXT NOT NULL,
        spec TEXT,                  -- the job, until it was submitted
        phase TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        not_before REAL NOT NULL DEFAULT 0,
        native_id TEXT,
        final INTEGER NOT NULL DEFAULT 0,
        status TEXT,                -- the last JobStatus, as JSON
        created REAL NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (cluster, token)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX jobs_by_key ON jobs (cluster, key) WHERE key IS NOT NULL;
    CREATE INDEX jobs_open ON jobs (cluster, final);
    """,
    """
    CREATE TABLE clusters (
        id TEXT PRIMARY KEY,        -- handle.cluster_text()
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        username TEXT,
        key_file TEXT,
        options TEXT NOT NULL       -- further keywords of register_cluster, as JSON
    ) WITHOUT ROWID;
    """,
)


def default_path() -> Path:
    """Where the file is: `$SSHMUX_STORE`, or the platform's directory for a user's data."""
    named = os.environ.get("SSHMUX_STORE")
    if named:
        return Path(named)
    return Path(platformdirs.user_data_dir("sshmux", appauthor=False)) / "sshmux.sqlite"


def connect(path: str | Path | None = None) -> sqlite3.Connection:
    """Opens the file, makes it if it is missing, and brings its schema up to date.

    The connection is in autocommit mode (use `transaction`), with rows by name, and may be used
    from one thread after the other. Raises `StoreError`.
    """
    place = default_path() if path is None else Path(path)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it with the umask's mode: names of jobs are nobody else's business.
        os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(
            place, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the store {str(place)!r} cannot be opened: {error}") from error
    try:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        _migrate(database, place)
    except sqlite3.Error as error:
        database.close()
        raise StoreError(
            f"the store {str(place)!r} cannot be used: {error}; move it away for a new one"
        ) from error
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write that happens as a whole, one program after the other."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _migrate(database: sqlite3.Connection, place: Path) -> None:
    if _version(database) == len(MIGRATIONS):
        return
    with transaction(database):
        version = _version(database)  # anew: another program may have been at it
        if version > len(MIGRATIONS):
            raise StoreError(
                f"the store {str(place)!r} was made by a newer sshmux (schema {version}): "
                "use that one, or another store"
            )
        for step in MIGRATIONS[version:]:
            for statement in _statements(step):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit the transaction around it."""
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version
