"""The keywords of `run()` and `create_process()`, for type checkers: their overloads share them.

What they mean is said where they are taken; a test compares the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from .redirect import Target


class ShellRunKeywords(TypedDict, total=False):
    """Of `RemoteShell.run`, but for `encoding`."""

    check: bool
    timeout: float | None
    input: str | bytes | None
    errors: str
    env: Mapping[str, str] | None
    cwd: str | None
    keep: bool


class RunKeywords(TypedDict, total=False):
    """Of `Connection.run`, but for `encoding`."""

    check: bool
    timeout: float | None
    input: str | bytes | None
    errors: str
    env: Mapping[str, str] | None
    cwd: str | None
    stdout: Target | None
    term_type: str | None
    term_size: Sequence[int]
    on_lost: Literal["leave", "end"]


class ProcessKeywords(TypedDict, total=False):
    """Of `Connection.create_process`, but for `encoding` and where the streams lead."""

    errors: str
    env: Mapping[str, str] | None
    cwd: str | None
    term_type: str | None
    term_size: Sequence[int]
    request_pty: bool | str
    input: str | bytes | None
    bufsize: int
    send_eof: bool
    recv_eof: bool
