"""What callers give to a command, checked before anything is run. Raises `ConfigError`. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from ..errors import ConfigError
from ..openssh.remote import check_command, check_variable


def check_request(command: object, env: object, cwd: object) -> None:
    """What is run, with which variables, and where."""
    check_command(command)
    if env is not None:
        check_env(env)
    if cwd is not None and not isinstance(cwd, str):
        raise ConfigError(f"cwd={cwd!r}: use a str, the path of a directory on the remote")
    if cwd is not None and "\0" in cwd:
        raise ConfigError(f"cwd={cwd!r} has a NUL character in it: no path can have that")


def check_env(env: object) -> None:
    """Variables: names and values."""
    if not isinstance(env, Mapping):
        raise ConfigError(f"env={env!r}: use a dict of names and values")
    for name, value in env.items():
        check_variable(name, value)


def check_encoding(encoding: object, errors: object, prefix: str = "") -> None:
    """Names that Python knows: else they would be found out when the output is there, and lost."""
    if encoding is not None:
        try:
            codecs.lookup(encoding)  # type: ignore[arg-type]
        except (LookupError, TypeError):
            raise ConfigError(
                f"{prefix}encoding={encoding!r}: Python knows no such encoding; use None for bytes"
            ) from None
    try:
        codecs.lookup_error(errors)  # type: ignore[arg-type]
    except (LookupError, TypeError):
        raise ConfigError(
            f"{prefix}errors={errors!r}: use 'strict', 'replace', 'surrogateescape' or another of "
            "Python's"
        ) from None


def input_bytes(input: object, encoding: str | None, errors: str = "strict") -> bytes | None:
    """A command's input as bytes; the encoding and errors were checked."""
    if isinstance(input, str):
        try:
            return input.encode(encoding or "utf-8", errors if encoding else "strict")
        except UnicodeError as error:
            raise ConfigError(f"input= cannot be encoded: {error}; give bytes") from None
    if input is not None and not isinstance(input, bytes | bytearray | memoryview):
        raise ConfigError(f"input={input!r}: give a str or bytes")
    return None if input is None else bytes(input)
