"""Patterns of file names, as a shell's: `*`, `?`, `[…]`, and `**` for any number of directories."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Protocol

from ..errors import SFTPError, SFTPFailure, SFTPNoSuchFile, SFTPPermissionDenied
from .attrs import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_SYMLINK,
    FILEXFER_TYPE_UNKNOWN,
    SFTPAttrs,
    SFTPName,
)
from .paths import shown

_DEEPEST = 64  # directories that a `**` goes down
_MOST_STEPS = 1_000_000
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


@dataclass(frozen=True, slots=True)
class _Step:
    """A path that fits the first parts of a pattern, and how many those are."""

    path: bytes
    attrs: SFTPAttrs | None  # where they are known
    done: int
    depth: int = 0  # directories that a `**` went down


async def search(tree: Tree, pattern: bytes) -> AsyncIterator[SFTPName]:
    """What fits a pattern, in the order of names; their whole paths, in bytes.

    A pattern that ends with a slash fits directories only, with a slash after them; one that ends
    with `**` fits all that is below, and the directory itself. Raises `SFTPFailure` for what is
    deeper, or more, than any real tree.
    """
    start = b"/" if pattern.startswith(b"/") else b""
    parts = [part for part in pattern.split(b"/") if part]
    parts = [part for part, after in pairwise([*parts, b""]) if part != b"**" or after != b"**"]
    only_directories = pattern.endswith(b"/") and bool(parts)
    left = [_Step(start, None, 0)] if pattern else []
    steps = 0
    while left:
        step = left.pop()
        if step.done < len(parts):
            left.extend(reversed(await _next(tree, step, parts)))
            steps += 1
            if steps > _MOST_STEPS:
                raise SFTPFailure(f"{shown(pattern)}: there are more directories than {steps}")
            continue
        path = step.path or b"."
        found = SFTPName(path, attrs=step.attrs or await tree.stat(path))
        if not only_directories:
            yield found
        elif await _is_directory(tree, found):
            found.filename = path if path.endswith(b"/") else path + b"/"
            yield found


async def _next(tree: Tree, step: _Step, parts: list[bytes]) -> list[_Step]:
    """What fits one part more, in order."""
    part, last = parts[step.done], step.done == len(parts) - 1
    if part == b"**":
        return await _any_depth(tree, step, last=last)
    if not has_magic(part):
        there = posixpath.join(step.path, part)
        try:
            attrs = await tree.stat(there, follow_symlinks=not last)
        except (SFTPNoSuchFile, FileNotFoundError, NotADirectoryError):
            return []
        return [_Step(there, attrs, step.done + 1, step.depth)]
    return [
        _Step(_join(step.path, name), name.attrs, step.done + 1, step.depth)
        for name in await _entries(tree, step)
        if matches(_name(name), part) and (last or await _may_lead_on(tree, step.path, name))
    ]


async def _any_depth(tree: Tree, step: _Step, *, last: bool) -> list[_Step]:
    """A `**`: this directory, and each below it."""
    if step.depth > _DEEPEST:
        raise SFTPFailure(f"{shown(step.path)} is more than {_DEEPEST} directories deep")
    here = [] if last and not step.path.strip(b"/.") else [replace(step, done=step.done + 1)]
    names = [name for name in await _entries(tree, step) if _name(name)[:1] != b"."]
    if last and step.depth == 0 and not names and not await _is_directory(tree, _named(step)):
        return []  # a file has nothing below it, and is no directory itself
    below = []
    for name in names:
        path = _join(step.path, name)
        # A link is not gone into: it may lead up again.
        if name.attrs.type == FILEXFER_TYPE_DIRECTORY:
            below.append(_Step(path, name.attrs, step.done, step.depth + 1))
        elif last:
            below.append(_Step(path, name.attrs, step.done + 1, step.depth))
    return here + below


def _named(step: _Step) -> SFTPName:
    return SFTPName(step.path or b".")


async def _entries(tree: Tree, step: _Step) -> list[SFTPName]:
    """What is in a directory; nothing, if it is none, or is not to be read."""
    kind = FILEXFER_TYPE_UNKNOWN if step.attrs is None else step.attrs.type
    if kind not in (FILEXFER_TYPE_DIRECTORY, FILEXFER_TYPE_SYMLINK, FILEXFER_TYPE_UNKNOWN):
        return []
    try:
        return sorted(await tree.entries(step.path or b"."), key=_name)
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
