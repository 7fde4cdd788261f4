"""JobHandle: what a program keeps of a job, on paper too."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import quote, unquote

from ..errors import ConfigError

#: `sm` and 12 characters of base32: as long as the shortest job name of any scheduler allows,
#: a letter first, and nothing that a shell or a scheduler could read as something else.
TOKEN = re.compile(r"sm[a-z2-7]{12}\Z")
_SCHEDULER = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_TEXT = re.compile(r"([^:]+):([^:]+):([^:\[]+)(?:\[(\d{1,9})\])?:(/.*)\Z", re.DOTALL)
_INTEGER = re.compile(r"-?(0|[1-9]\d*)\Z")


def new_token() -> str:
    """A token that no other job has."""
    return _token(secrets.token_bytes(8))


def token_of_key(key: str) -> str:
    """The token of a `key=`: the same on every machine, so that no two of them submit it twice."""
    return _token(
        hashlib.sha256(b"sshmux job key\0" + key.encode("utf-8", "surrogatepass")).digest()
    )


def _token(data: bytes) -> str:
    return "sm" + base64.b32encode(data).decode("ascii").lower()[:12]


def checked_token(text: str) -> str:
    """The text, if it is a token. Raises `ConfigError`."""
    if not isinstance(text, str) or not TOKEN.match(text):
        raise ConfigError(f"{text!r} is no job's token: a token is sm and 12 of a-z and 2-7")
    return text


def cluster_text(cluster_id: Hashable) -> str:
    """A cluster's id in words that `cluster_of` reads back: 7 is "7", and "7" is "%37".

    Raises `ConfigError` for what is neither an int nor a str: another program could not tell
    what is meant.
    """
    if isinstance(cluster_id, int) and not isinstance(cluster_id, bool):
        return str(cluster_id)
    if not isinstance(cluster_id, str) or not cluster_id:
        raise ConfigError(f"cluster {cluster_id!r}: jobs need a cluster id that is a str or an int")
    if _INTEGER.match(cluster_id):
        head = "".join(f"%{byte:02X}" for byte in cluster_id[0].encode())
        return head + quote(cluster_id[1:], safe="")
    return quote(cluster_id, safe="@", errors="surrogatepass")


def cluster_of(text: str) -> Hashable:
    """The cluster id that `cluster_text` wrote."""
    if _INTEGER.match(text):
        return int(text)
    return unquote(text, errors="surrogatepass")


@dataclass(frozen=True)
class JobHandle:
    """Names one job, or one task of an array, for ever and on every machine.

    `str(handle)` is a text for a database, a log or a command line, and `JobHandle.parse` reads
    it back: `slurm:CLUSTER:TOKEN:/the/job's/directory`, with `TOKEN[3]` for a task.
    """

    scheduler: str
    cluster_id: Hashable
    token: str
    directory: str
    index: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.scheduler, str) or not _SCHEDULER.match(self.scheduler):
            raise ConfigError(f"scheduler {self.scheduler!r}: use a name such as 'slurm'")
        checked_token(self.token)
        cluster_text(self.cluster_id)
        check_directory(self.directory)
        if self.index is not None and (type(self.index) is not int or self.index < 0):
            raise ConfigError(f"array index {self.index!r}: use a whole number, 0 or more")

    def __str__(self) -> str:
        task = "" if self.index is None else f"[{self.index}]"
        cluster = cluster_text(self.cluster_id)
        return f"{self.scheduler}:{cluster}:{self.token}{task}:{self.directory}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The handle that `str()` wrote. Raises `ConfigError`."""
        found = _TEXT.match(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigError(
                f"{text!r} is no job handle: one reads like slurm:CLUSTER:TOKEN:/directory"
            )
        scheduler, cluster, token, index, directory = found.groups()
        number = None if index is None else int(index)
        return cls(scheduler, cluster_of(cluster), token, directory, number)

    def task(self, index: int) -> JobHandle:
        """The handle of one task of this array."""
        return replace(self, index=index)

    @property
    def job(self) -> JobHandle:
        """The handle of the whole job."""
        return self if self.index is None else replace(self, index=None)


def check_directory(path: str) -> str:
    """A remote directory's absolute path. Raises `ConfigError` for what is none."""
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or any(ord(character) < 32 or ord(character) == 127 for character in path)
        or any(part in ("", ".", "..") for part in path.split("/")[1:])
        or len(path) > 1024
    ):
        raise ConfigError(f"remote directory {path!r}: use an absolute path, without .. in it")
    return path
