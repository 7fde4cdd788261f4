"""What is to be moved: how it was named, what it is, and in which streams it goes. Pure.

Of a link that is named its content is moved; links inside of directories are moved as links (as
scp and cp -r have it). tar can follow all links or none, so what was named is sorted first.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import fsencode
from typing import TypeVar

from ..errors import ConfigError, SourceNotFound, TransferError
from ..system.selection import Selection
from .patterns import asked_for, has_magic, last_name

DIRECTORY, FILE, OTHER, NOTHING = "d", "f", "o", "x"
DIRECTORY_LINK, FILE_LINK, LINK = "D", "F", "L"
DIRECTORIES = (DIRECTORY, DIRECTORY_LINK)
KINDS = frozenset((DIRECTORY, FILE, OTHER, NOTHING, DIRECTORY_LINK, FILE_LINK, LINK))

MOST_NAMES = 1_000_000  # of one transfer
_COMMAND = 48 * 1024  # bytes of names in one command: the least that systems take is 128 KiB


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """One of the sources.

    Attributes:
        kind: what it is: one of the letters above.
        path: how it was named; a pattern's, one by one.
    """

    kind: str
    path: str

    @property
    def name(self) -> str:
        """Its last name, under which it goes; empty for what is in a directory (`dir/.`)."""
        return last_name(self.path)


@dataclass(frozen=True, slots=True)
class Stream:
    """Some sources that go as one stream.

    Attributes:
        contents: what is in the only one goes, and not that itself.
        follow: of links what they lead to goes.
        selection: what of it goes, if not all; then all sources are in one directory.
    """

    sources: tuple[Source, ...]
    contents: bool = False
    follow: bool = False
    selection: Selection | None = None

    @property
    def paths(self) -> list[str]:
        """Of the sources."""
        return [source.path for source in self.sources]

    @property
    def directory(self) -> str:
        """What the first of them is in, or itself if its contents go."""
        path = self.sources[0].path
        return path if self.contents else posixpath.dirname(path.rstrip("/")) or "."

    @property
    def names(self) -> list[str]:
        """Of the sources, in that directory."""
        return ["."] if self.contents else [f"./{source.name}" for source in self.sources]


def check_names(paths: Iterable[str]) -> None:
    """Raises `ConfigError` for a source whose own name is not known."""
    for path in paths:
        if posixpath.basename(path.rstrip("/")) == "..":
            raise ConfigError(f"{path!r}: give the directory by its own name")


def check_told(found: Sequence[Source], named: Sequence[str], target: str) -> None:
    """Whether a remote told what it was asked for. Raises `TransferError`."""
    exact, patterns = set(named), [name for name in named if has_magic(name)]
    for source in found:
        told = source.path in exact or (source.path and asked_for(source.path, patterns))
        if source.kind not in KINDS or not told:
            raise TransferError(
                f"{', '.join(named)} to {target}: refused: the remote tells of {source.path!r}, "
                "which was not asked for"
            )


def check_sources(found: Sequence[Source], target: str, *, recurse: bool) -> None:
    """Whether all of it can be moved, and to places of its own. Raises `TransferError`."""
    for source in found:
        what = f"{source.path} to {target}"
        if source.kind == NOTHING:
            raise SourceNotFound(f"{what}: there is no such file")
        if source.kind == LINK:
            raise SourceNotFound(f"{what}: that is a link which leads nowhere")
        if source.kind == OTHER:
            raise TransferError(f"{what}: that is neither a file nor a directory")
        if source.kind in (DIRECTORY, DIRECTORY_LINK) and not recurse:
            raise TransferError(f"{what}: that is a directory: use recurse=True")
        if not source.name and len(found) > 1:
            raise TransferError(f"{what}: what is in a directory is copied by itself only")
    for name, count in Counter(source.name for source in found).items():
        if count > 1:
            raise TransferError(
                f"{count} sources would be one {name!r} in {target}: nothing was moved"
            )


def kept_links(found: Sequence[Source], follow_symlinks: bool | None) -> list[Source]:
    """The sources, with links for what they are meant as: a link itself counts as a file."""
    if follow_symlinks is not False:
        return list(found)
    links = (DIRECTORY_LINK, FILE_LINK, LINK)
    return [Source(FILE, each.path) if each.kind in links else each for each in found]


def selected(found: Sequence[Source], selection: Selection | None, target: str) -> list[Source]:
    """Those of the sources that `exclude=` and `include=` leave. Raises `TransferError` for none.

    What is in them is looked at later.
    """
    if selection is None:
        return list(found)
    left = [
        source
        for source in found
        if not source.name
        or selection.takes(fsencode(source.name), directory=source.kind in DIRECTORIES)
    ]
    if not left:
        names = ", ".join(source.path for source in found)
        raise TransferError(f"{names} to {target}: exclude= and include= leave none of it")
    return left


def streams(
    found: Sequence[Source], follow_symlinks: bool | None, selection: Selection | None = None
) -> list[Stream]:
    """In which streams they go."""
    follow = follow_symlinks is True
    made: list[Stream] = []
    plain: list[Source] = []
    linked: list[Source] = []
    chosen: dict[str, list[Source]] = {}
    for source in found:
        if not source.name:
            made.append(Stream((source,), True, follow, selection))
        elif source.kind == DIRECTORY_LINK and follow_symlinks is None:
            below = selection and selection.below(fsencode(source.name))
            made.append(Stream((source,), contents=True, selection=below))
        elif source.kind in DIRECTORIES and selection is not None:
            chosen.setdefault(Stream((source,)).directory, []).append(source)
        elif source.kind == FILE_LINK and follow_symlinks is None:
            linked.append(source)
        else:
            plain.append(source)
    for sources in chosen.values():
        made += [Stream(some, False, follow, selection) for some in _portions(sources, _path)]
    made += [Stream(some, follow=follow) for some in _portions(plain, _path)]
    made += [Stream(some, follow=True) for some in _portions(linked, _path)]
    return made


def _path(source: Source) -> str:
    return source.path


def portions_of_names(names: Sequence[str]) -> list[tuple[str, ...]]:
    """So many at a time that a command line can have them."""
    return _portions(names, str)


def _portions(sources: Sequence[T], path: Callable[[T], str]) -> list[tuple[T, ...]]:
    portions: list[tuple[T, ...]] = []
    some: list[T] = []
    size = 0
    for source in sources:
        length = 4 * len(path(source).encode("utf-8", "surrogateescape")) // 3 + 16
        if some and size + length > _COMMAND:
            portions.append(tuple(some))
            some, size = [], 0
        some.append(source)
        size += length
    return [*portions, tuple(some)] if some else portions
