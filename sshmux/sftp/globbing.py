"""Patterns of file names, as a shell's: `*`, `?`, `[…]`, and `**` for any number of directories."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Protocol

from ..errors import SFTPError, SFTPNoSuchFile, SFTPPermissionDenied
from .attrs import FILEXFER_TYPE_DIRECTORY, FILEXFER_TYPE_SYMLINK, SFTPAttrs, SFTPName

_MAGIC = re.compile(rb"[*?\[]")


class Tree(Protocol):
    """What can be searched."""

    async def entries(self, path: bytes) -> list[SFTPName]:
        """What is in a directory, `.` and `..` left out."""

    async def stat(self, path: bytes, *, follow_symlinks: bool = True) -> SFTPAttrs:
        """What a file is."""


def has_magic(pattern: bytes) -> bool:
    """Whether it is a pattern at all."""
    return _MAGIC.search(pattern) is not None


def escape(path: bytes) -> bytes:
    """A path as a pattern that fits nothing else."""
    return _MAGIC.sub(rb"[\g<0>]", path)


def matches(name: bytes, pattern: bytes) -> bool:
    """Whether a name fits: a dot at its start must be said.

    One `?` is one character of UTF-8, as it is for a shell and for Python's `glob`; a byte that is
    not UTF-8 is one as well.
    """
    if name[:1] == b"." and pattern[:1] != b".":
        return False
    return fnmatchcase(_text(name), _text(pattern))


async def search(tree: Tree, pattern: bytes) -> AsyncIterator[SFTPName]:
    """What fits a pattern, in the order of names; their whole paths, in bytes."""
    start = b"/" if pattern.startswith(b"/") else b""
    parts = [part for part in pattern.split(b"/") if part]
    parts = [part for part, after in pairwise([*parts, b""]) if part != b"**" or after != b"**"]
    if not pattern:
        return
    only_directories = pattern.endswith(b"/") and bool(parts)
    async for found in _search(tree, start, None, parts):
        if not only_directories or await _is_directory(tree, found):
            yield found


async def _search(
    tree: Tree, path: bytes, attrs: SFTPAttrs | None, parts: list[bytes]
) -> AsyncIterator[SFTPName]:
    """What fits the rest of a pattern, below a path whose attributes may be known."""
    if not parts:
        yield SFTPName(path or b".", attrs=attrs or await tree.stat(path or b"."))
        return
    part, rest = parts[0], parts[1:]
    if part == b"**":
        async for found in _search(tree, path, attrs, rest or [b"*"]):
            yield found
        for name in await _entries(tree, path):
            # A link is not gone into: it may lead up again.
            if name.attrs.type == FILEXFER_TYPE_DIRECTORY and _name(name)[:1] != b".":
                async for found in _search(tree, _join(path, name), name.attrs, parts):
                    yield found
    elif has_magic(part):
        for name in await _entries(tree, path):
            if matches(_name(name), part) and (not rest or await _may_lead_on(tree, path, name)):
                async for found in _search(tree, _join(path, name), name.attrs, rest):
                    yield found
    else:
        there = posixpath.join(path, part)
        try:
            attrs = await tree.stat(there, follow_symlinks=bool(rest))
        except (SFTPNoSuchFile, FileNotFoundError, NotADirectoryError):
            return
        async for found in _search(tree, there, attrs, rest):
            yield found


async def _entries(tree: Tree, path: bytes) -> list[SFTPName]:
    """What is in a directory; nothing, if it is none, or is not to be read."""
    try:
        return sorted(await tree.entries(path or b"."), key=_name)
    except (SFTPNoSuchFile, SFTPPermissionDenied, FileNotFoundError):
        return []
    except (NotADirectoryError, PermissionError):
        return []


async def _may_lead_on(tree: Tree, path: bytes, name: SFTPName) -> bool:
    if name.attrs.type == FILEXFER_TYPE_SYMLINK:
        return await _is_directory(tree, SFTPName(_join(path, name)))
    return name.attrs.type == FILEXFER_TYPE_DIRECTORY


async def _is_directory(tree: Tree, name: SFTPName) -> bool:
    try:
        attrs = await tree.stat(_name(name))
    except (SFTPError, OSError):
        return False
    return attrs.type == FILEXFER_TYPE_DIRECTORY


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _join(path: bytes, name: SFTPName) -> bytes:
    return posixpath.join(path, _name(name))


def _name(name: SFTPName) -> bytes:
    assert isinstance(name.filename, bytes)  # noqa: S101 - as trees give it
    return name.filename
