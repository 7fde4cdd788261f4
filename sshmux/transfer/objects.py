"""Python's own objects in place of a local file: what is read from, or written to.

Each goes through a temporary file: so a remote file appears whole or not at all, and an object gets
nothing of a file that did not arrive whole.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..errors import ConfigError
from ..session.execution import Scope
from ..session.link import Link
from ..session.objects import Inlet, Outlet, Writable, check_kind, is_text, pieces
from . import scripts
from .files import get_file, mask, put_file, threads
from .options import TransferOptions
from .patterns import has_magic
from .remote import Remote
from .transfers import AnyPath, TransferResult

_PIECE = 1024 * 1024
_NO_NAME = "."  # in a directory of the target's name nothing of ours has a place


async def put_object(
    link: Link, scope: Scope, source: Inlet, remote: AnyPath, options: TransferOptions
) -> TransferResult:
    """Sends what an object has to read, text in UTF-8. It is not closed."""
    begun, target = time.monotonic(), _remote_file(remote, "remotepath")
    _check(source, "localpaths", options)
    with _temporary() as path:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o666 & ~mask())
            async for piece in pieces(source, _PIECE):
                data = piece.encode() if isinstance(piece, str) else piece
                await threads.run(partial(_write, descriptor, data))
        finally:
            os.close(descriptor)
        size = await put_file(Remote(link, scope), path, target, options, name=_NO_NAME)
    return TransferResult((_called(source),), 1, size, time.monotonic() - begun)


async def get_object(
    link: Link, scope: Scope, remote: object, target: Writable, options: TransferOptions
) -> TransferResult:
    """Writes a file's content to an object, to a file of text as UTF-8. It is not closed."""
    begun, source = time.monotonic(), _remote_file(remote, "remotepaths")
    _check(target, "localpath", options)
    outlet = Outlet(target, "utf-8" if is_text(target) else None, "strict", keep=True)
    with _temporary() as path:
        size = await get_file(Remote(link, scope), source, path, options)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := await threads.run(partial(os.read, descriptor, _PIECE)):
                await outlet.write(piece)
        finally:
            os.close(descriptor)
        await outlet.end()
    return TransferResult((source,), 1, size, time.monotonic() - begun)


def _remote_file(path: object, name: str) -> str:
    """One file's name. Raises `ConfigError`."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise ConfigError(f"{name}={path!r}: with an object, name one remote file")
    target = scripts.remote_path(path)
    several = name == "remotepaths" and has_magic(target)
    if several or target.endswith("/") or target in (".", ".."):
        raise ConfigError(f"{name}={path!r}: with an object, name the remote file itself")
    return target


def _check(given: Any, name: str, options: TransferOptions) -> None:
    check_kind(given, name, "utf-8")
    if options.recurse or options.preserve or options.resume or options.selection:
        raise ConfigError(
            f"{name}={given!r}: recurse=, preserve=, resume=, exclude= and include= are for files"
        )


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
    """The name of a file in a directory of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="sshmux-") as directory:
        yield os.path.join(directory, "content")


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _called(source: object) -> str:
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else f"<{type(source).__name__}>"
