"""Copies of files and trees: which, where to, in which order. How bytes move is `bulk`'s."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import Any, Protocol

from ..errors import SFTPBadMessage, SFTPError, SFTPFailure, SFTPNoSuchFile
from ..system.tasks import run_to_end
from ..text import logger
from .attrs import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    FILEXFER_TYPE_UNKNOWN,
    SFTPAttrs,
    SFTPName,
)
from .copy_options import CopyOptions, SFTPPaths
from .crew import Crew
from .filesystems import FileSystem, parent
from .globbing import search
from .operations import about
from .paths import SFTPPath, basename, shown
from .targets import Target

log = logger("sshmux.sftp")

_DEEPEST = 64  # directories in directories, as sftp's own


@dataclass(frozen=True, slots=True)
class Item:
    """A file, directory or link on its way.

    Attributes:
        path: where it is.
        place: where it goes, below the target.
        root: where that of which it is a part goes.
        depth: how far below it is.
        follow: if it is a link, what it leads to is meant.
        chain: the directories that links led to on the way here.
        called: the path that `exclude` and `include` are about.
    """

    path: bytes
    place: bytes
    attrs: SFTPAttrs
    root: bytes
    depth: int
    follow: bool
    chain: frozenset[bytes] = frozenset()
    called: bytes = b""


class FileCopier(Protocol):
    """Moves the bytes of one file."""

    def __call__(
        self,
        source: Item,
        target: Callable[[], Awaitable[Any]],
        progress: Callable[[int], object] | None,
    ) -> Awaitable[None]:
        """Moves them. `target` opens where they go, once the source is open."""


@dataclass
class Copy:
    """A copy of files, directories and links from one side to another.

    Files come first, then links, so that none is written through one of them, and the times of
    directories last.
    """

    source: FileSystem
    target: Target
    move: FileCopier
    options: CopyOptions
    _root: bytes = b""  # what is copied to, as it was said
    _links: list[Item] = field(default_factory=list)
    _directories: list[Item] = field(default_factory=list)
    _former: list[tuple[bytes, int]] = field(default_factory=list)  # modes that were changed
    _named_left_out: int = 0

    async def run(self, sources: SFTPPaths, target: SFTPPath | None, *, patterns: bool) -> None:
        """Copies. Raises `SFTPError` and `OSError`, unless there is a handler for them.

        Parameters:
            target: a name, or a directory to copy into; None for the working directory.
            patterns: the sources are patterns.
        """
        if isinstance(sources, str | bytes | PurePath):
            sources = [sources]
        self._root = self.target.encode(b"" if target is None else target)
        found = unique([name for path in sources for name in await self._found(path, patterns)])
        try:
            items = self._items(found, into=await self.target.begin(self._root))
            try:
                async with asyncio.TaskGroup() as group:
                    crew = Crew(group)
                    for item in items:
                        await self._copy_all(crew, item)
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from several.exceptions[0].__cause__
            await self._copy_links()
            for item in reversed(self._directories):
                await self._guarded(self._preserve(item, link=False), item)
            if items and self._named_left_out == len(items):
                raise SFTPFailure(f"{shown(items[0].path)}: exclude and include leave none of it")
        finally:
            await run_to_end(self._end)

    async def _end(self) -> None:
        kept = {item.place for item in self._directories}
        while self._former:
            place, mode = self._former.pop()
            if place not in kept:
                with contextlib.suppress(SFTPError, OSError):
                    await self.target.keep(place, SFTPAttrs(permissions=mode), link=False)
        await self.target.end()

    # What is meant

    async def _found(self, path: SFTPPath, patterns: bool) -> list[SFTPName]:
        found: list[SFTPName] = []

        async def look() -> None:
            if not patterns:
                follow = self.options.follows_named
                attrs = await self.source.stat(encoded, follow_symlinks=follow)
                found.append(SFTPName(encoded, attrs=attrs))
                return
            found.extend([name async for name in search(self.source, self.source.pattern(path))])
            if not found and path not in ("", b""):
                raise SFTPNoSuchFile(f"nothing fits the pattern {shown(encoded)}")

        encoded = self.source.encode(path)
        await self._guarded(look(), Item(encoded, b"", SFTPAttrs(), b"", 0, False))
        return found

    def _items(self, found: Sequence[SFTPName], *, into: bool) -> list[Item]:
        if len(found) > 1 and not into:
            raise SFTPFailure(f"{shown(self._root)} must be a directory, to copy several to it")
        items = []
        for name in found:
            path = _bytes(name)
            called = place = basename(path)
            if called in (b".", b".."):
                called = b""
            if not into:
                place = posixpath.basename(self._root.rstrip(b"/"))
            if place in (b".", b".."):
                place = b""  # what is in it goes into the target itself
            follow = self.options.follows_named
            items.append(Item(path, place, name.attrs, place, 0, follow, called=called))
        for place, count in Counter(item.place for item in items).items():
            if count > 1:
                raise SFTPFailure(
                    f"{count} sources would be one {shown(self.target.shown(place))}: "
                    "nothing was copied"
                )
        return items

    async def _followed(self, item: Item) -> Item:
        """What it is, or what it leads to if that is meant."""
        if item.attrs.type != FILEXFER_TYPE_SYMLINK or not item.follow:
            return item
        attrs = await self.source.stat(item.path)
        if attrs.type == FILEXFER_TYPE_SYMLINK:
            raise SFTPBadMessage("the server says that what a link leads to is a link")
        chain = item.chain
        if attrs.type == FILEXFER_TYPE_DIRECTORY and self.options.recurse:
            leads_to = await self.source.realpath(item.path)
            above = await self.source.realpath(parent(item.path))
            if leads_to in chain or (above + b"/").startswith(leads_to.rstrip(b"/") + b"/"):
                raise SFTPFailure("a link that leads to a directory which it is in itself")
            chain |= {leads_to}
        return replace(item, attrs=attrs, chain=chain)

    # Files and directories

    async def _copy_all(self, crew: Crew, item: Item) -> None:
        """Copies it with all that is in it, but for links."""
        left = [[item]]  # of each directory that is gone through
        while left:
            if not left[-1]:
                left.pop()
                continue
            item = left[-1].pop()
            below: list[Item] = []
            await self._guarded(self._copy(crew, item, below), item)
            left.append(below)

    async def _copy(self, crew: Crew, item: Item, below: list[Item]) -> None:
        item = await self._followed(item)
        kind = item.attrs.type
        if not self._is_meant(item, directory=kind == FILEXFER_TYPE_DIRECTORY):
            self._named_left_out += not item.depth
            return
        if kind == FILEXFER_TYPE_DIRECTORY:
            below.extend(await self._copy_directory(item))
        elif kind == FILEXFER_TYPE_SYMLINK:
            self._links.append(item)
        elif kind in (FILEXFER_TYPE_REGULAR, FILEXFER_TYPE_UNKNOWN):
            await crew.start(partial(self._copy_file_guarded, item))
        else:
            raise SFTPFailure(f"{shown(item.path)} is neither a file nor a directory: left out")

    def _is_meant(self, item: Item, *, directory: bool) -> bool:
        selection = self.options.selection
        if selection is None or not item.called:
            return True
        return selection.takes(item.called, directory=directory)

    async def _copy_directory(self, item: Item) -> list[Item]:
        """Makes it. What is in it, the last first."""
        if not self.options.recurse:
            raise SFTPFailure(f"{shown(item.path)} is a directory: use recurse=True")
        if item.depth >= _DEEPEST:
            raise SFTPFailure(f"{shown(item.path)} is more than {_DEEPEST} directories deep")
        if item.place:
            former = await self.target.make_directory(item.place, item.attrs.permissions)
            if former is not None:
                self._former.append((item.place, former))
            if self.options.preserve:
                self._directories.append(item)
        names = await self.source.entries(item.path)
        return [
            replace(
                item,
                path=posixpath.join(item.path, _bytes(name)),
                place=posixpath.join(item.place, _bytes(name)),
                called=posixpath.join(item.called, _bytes(name)),
                attrs=name.attrs,
                depth=item.depth + 1,
                follow=self.options.follows_all,
            )
            for name in reversed(names)
        ]

    async def _copy_file_guarded(self, item: Item) -> None:
        await self._guarded(self._copy_file(item), item)

    async def _copy_file(self, item: Item) -> None:
        handler = self.options.progress_handler
        progress = None
        if handler is not None:
            total = item.attrs.size or 0
            progress = _Progress(handler, item.path, self.target.shown(item.place), total)
        opening = partial(self.target.open, item.place, item.attrs)
        await self.move(item, opening, progress)
        if progress is not None and not progress.told:
            progress(0)
        if self.options.preserve:
            await self._preserve(item, link=False)

    async def _preserve(self, item: Item, *, link: bool) -> None:
        attrs = await self.source.stat(item.path, follow_symlinks=not link)
        # Linux cannot set the permissions of a link, and nobody asks for them.
        mode = None if link or attrs.permissions is None else attrs.permissions & 0o777
        kept = SFTPAttrs(permissions=mode, atime=attrs.atime, mtime=attrs.mtime)
        await self.target.keep(item.place, kept, link=link)

    # Links

    async def _copy_links(self) -> None:
        leads_to: dict[bytes, bytes] = {}

        async def read(item: Item) -> None:
            leads_to[item.place] = await self.source.readlink(item.path)

        for first in range(0, len(self._links), Crew.SIZE):
            some = self._links[first : first + Crew.SIZE]
            await asyncio.gather(*(self._guarded(read(item), item) for item in some))
        for item in self._links:
            if item.place in leads_to:
                await self._guarded(self._copy_link(item, leads_to), item)

    async def _copy_link(self, item: Item, links: dict[bytes, bytes]) -> None:
        leads_to = links[item.place]
        root = item.root if item.depth else b""  # by itself, it may lead to its neighbours
        if await self.target.leads_out(item.place, root, links):
            error = SFTPBadMessage(
                f"a link to {shown(leads_to)} would lead out of what is copied: left out. "
                "follow_symlinks=True copies what it leads to"
            )
            if not item.depth:
                raise error
            self._left_out(error, item)
            return
        await self.target.make_link(item.place, leads_to)
        if self.options.preserve:
            await self._preserve(item, link=True)

    def _left_out(self, error: SFTPError, item: Item) -> None:
        """The rest of the tree is copied all the same."""
        there = self.target.shown(item.place)
        about(error, item.path, there)
        error.srcpath, error.dstpath = item.path, there
        if self.options.error_handler:
            self._handled(error, item.path, there)
        else:
            log.warning("%s", error)

    # What goes wrong

    async def _guarded(self, work: Awaitable[None], item: Item) -> None:
        """Does something about a file. What goes wrong names it, and goes to the handler."""
        path, there = item.path, self.target.shown(item.place) if item.place else self._root
        try:
            await work
        except (SFTPError, OSError) as error:
            if isinstance(error, SFTPError):
                about(error, path, there)
            if not hasattr(error, "srcpath") or error.srcpath is None:
                error.srcpath, error.dstpath = path, there  # type: ignore[union-attr]
                if not self.options.error_handler:
                    raise
                self._handled(error, path, there)
            else:
                raise  # the handler's own, or one that is named already

    def _handled(self, error: Exception, path: bytes, there: bytes) -> None:
        assert self.options.error_handler  # noqa: S101 - looked at by the caller
        try:
            self.options.error_handler(error)
        except (SFTPError, OSError) as own:
            own.srcpath, own.dstpath = path, there  # type: ignore[union-attr]
            raise  # not handed to it once more, for the directory


@dataclass
class _Progress:
    """Tells the handler about one file."""

    handler: Callable[[bytes, bytes, int, int], object]
    path: bytes
    there: bytes
    total: int
    told: bool = False

    def __call__(self, done: int) -> None:
        self.told = True
        self.handler(self.path, self.there, done, self.total)


def unique(names: Sequence[SFTPName]) -> list[SFTPName]:
    """Each path once: several patterns may fit it."""
    return list({name.filename: name for name in names}.values())


def _bytes(name: SFTPName) -> bytes:
    assert isinstance(name.filename, bytes)  # noqa: S101 - as sides give it
    return name.filename
