"""Which files of a tree are meant: the rule behind `exclude=` and `include=`. Pure, in bytes.

What an `exclude` pattern fits is left out, with all that is in it. If there are `include` patterns,
only files that one fits, or that are in a directory which one fits, are taken. Directories are gone
through, and made, unless they are excluded.

Paths begin with the last name of what was named (with what is in it, for `dir/.`). A pattern fits
the end of a path, from any name on (`*.o`, `src/*.o`); with a slash at its start the whole path.
With one at its end it fits directories only. `*`, `?` and `[…]` stand for bytes of one name, also
for a dot at its start; `**` in place of a name for any number of directories, and as the last one
for all that is below.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import fsencode

from ..errors import ConfigError

Patterns = str | bytes | Sequence[str | bytes]

_MOST = 12 * 1024  # bytes of patterns: they travel on one command line
_ANY = frozenset(range(1, 256)) - {ord("/")}  # bytes of names
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(1, 32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r\v\f",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}
_CLASS = re.compile(rb"\[:([a-z]+):\]")

# A name's parts: one of some bytes, or (None) any number of any. A path's: names, or (None) any
# number of them.
Name = tuple[frozenset[int] | None, ...]


@dataclass(frozen=True)
class Pattern:
    """One pattern.

    Attributes:
        names: of the path; None for a `**`. They begin at the start of a path.
        directory: it fits directories only.
    """

    names: tuple[Name | None, ...]
    directory: bool

    @classmethod
    def parse(cls, text: str | bytes) -> Pattern:
        """As callers write it. Raises `ConfigError`."""
        raw = fsencode(text) if isinstance(text, str | bytes) else b""
        parts = raw.removeprefix(b"/").removesuffix(b"/").split(b"/")
        if not all(parts) or b"\0" in raw or {b".", b".."} & {*parts}:
            raise ConfigError(
                f"pattern {text!r}: give a name or path, such as '*.o', 'build/' or '/src/**/*.tmp'"
            )
        names = [None if part == b"**" else _name(part, text) for part in parts]
        if not raw.startswith(b"/"):
            names.insert(0, None)
        first = [names[at] for at in range(len(names)) if names[at] or not at or names[at - 1]]
        return cls(tuple(first), raw.endswith(b"/"))

    def below(self, name: bytes) -> list[Pattern]:
        """What is left of it for the paths below a directory of that name at the top.

        One without names fits the directory itself.
        """
        first, rest = self.names[0], Pattern(self.names[1:], self.directory)
        if first is None:
            return [self, *(rest.below(name) if rest.names else [rest])]
        return [rest] if re.fullmatch(_expression(first), name, re.DOTALL) else []

    @cached_property
    def expression(self) -> bytes:
        """A regular expression (Python's) for paths; those of directories end with a slash."""
        runs: list[list[bytes]] = [[]]  # of names, between one `**` and the next
        for name in self.names:
            if name is None:
                runs.append([])
            else:
                runs[-1].append(_expression(name))
        if self.names and not runs[-1]:
            runs[-1] = [b"[^/]+(?:/[^/]+)*"]
        first, *others = (b"/".join(run) for run in runs)
        found = [first + b"/" * bool(first and others)]
        # As with `*`, what a `**` takes is settled once.
        found += [b"(?>(?:[^/]+/)*?%b/)" % run for run in others[:-1]]
        found += [b"(?:[^/]+/)*" * (self.names[-1] is not None) + run for run in others[-1:]]
        return b"".join(found) + (b"/.*" if self.directory else b"(?:/.*)?")


@dataclass(frozen=True)
class Selection:
    """Some patterns, for what is left out and for what is taken."""

    exclude: tuple[Pattern, ...] = ()
    include: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, exclude: Patterns, include: Patterns) -> Selection | None:
        """As callers give it; None if all is taken. Raises `ConfigError`."""
        found = cls(_parsed("exclude", exclude), _parsed("include", include))
        return found if found.exclude or found.include else None

    def takes(self, path: bytes, *, directory: bool) -> bool:
        """Whether it is meant.

        Parameters:
            path: relative, of names. Of what a link leads to, if its content is meant.
        """
        subject = path + b"/" * directory
        if self._excluded is not None and self._excluded.fullmatch(subject):
            return False
        return directory or self._included is None or bool(self._included.fullmatch(subject))

    def below(self, name: bytes) -> Selection | None:
        """The same for paths that begin below a directory at the top; None if all is taken."""
        include = tuple(each for one in self.include for each in one.below(name))
        exclude = tuple(each for one in self.exclude for each in one.below(name) if each.names)
        if any(not each.names for each in include):
            include = ()
        elif self.include and not include:
            include = (_NOTHING,)
        return Selection(exclude, include) if exclude or include else None

    @cached_property
    def _excluded(self) -> re.Pattern[bytes] | None:
        return _any_of(self.exclude)

    @cached_property
    def _included(self) -> re.Pattern[bytes] | None:
        return _any_of(self.include)


_NOTHING = Pattern(((frozenset(),),), directory=True)  # fits no path


def _parsed(keyword: str, given: Patterns) -> tuple[Pattern, ...]:
    several = [given] if isinstance(given, str | bytes) else given
    if not isinstance(several, Sequence) or not all(isinstance(p, str | bytes) for p in several):
        raise ConfigError(f"{keyword}={given!r}: give a pattern, or several in a list")
    if sum(len(fsencode(text)) for text in several) > _MOST:
        raise ConfigError(f"{keyword}=: the patterns have more than {_MOST} bytes")
    return tuple(Pattern.parse(text) for text in dict.fromkeys(several))


def _any_of(patterns: Sequence[Pattern]) -> re.Pattern[bytes] | None:
    expressions = b"|".join(pattern.expression for pattern in patterns)
    return re.compile(expressions, re.DOTALL) if patterns else None


def _expression(name: Name) -> bytes:
    """Python's regular expression for a name. What a `*` takes is settled once, the shortest:
    otherwise a name could be found that takes for ever.
    """
    pieces: list[list[bytes]] = [[]]
    for part in name:
        if part is None:
            pieces.append([])
        else:
            letters = b"".join(b"\\x%02x" % byte for byte in sorted(part))
            pieces[-1].append(b"[^/]" if part == _ANY else b"[%b]" % letters if part else b"(?!)")
    first, *others = map(b"".join, pieces)
    middle = b"".join(b"(?>[^/]*?%b)" % piece for piece in others[:-1])
    start = b"" if any(name) else b"(?=[^/])"  # no name is empty
    return start + first + middle + (b"[^/]*" + others[-1] if others else b"")


def _name(text: bytes, whole: str | bytes) -> Name:
    """The parts of a name. Raises `ConfigError`."""
    found: list[frozenset[int] | None] = []
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        at += 1
        if byte == b"*":
            if found[-1:] != [None]:
                found.append(None)
        elif byte == b"?":
            found.append(_ANY)
        elif byte == b"\\":
            if at == len(text):
                raise ConfigError(f"pattern {whole!r}: nothing is behind the backslash")
            found.append(frozenset(text[at : at + 1]))
            at += 1
        elif byte == b"[" and (end := end_of_set(text, at)) is not None:
            found.append(_set(text[at:end], whole))
            at = end + 1
        else:
            found.append(frozenset(byte))
    return tuple(found)


def end_of_set(text: bytes, at: int) -> int | None:
    """Where the bracket is that closes a shell's set, which begins at `at`. None: it is no set."""
    if text[at : at + 1] in (b"!", b"^"):
        at += 1
    if text[at : at + 1] == b"]":
        at += 1
    while at < len(text):
        if found := _CLASS.match(text, at):
            at = found.end()
        elif text[at : at + 1] == b"]":
            return at
        else:
            at += 2 if text[at : at + 1] == b"\\" else 1
    return None


def _set(text: bytes, whole: str | bytes) -> frozenset[int]:
    negated = text[:1] in (b"!", b"^")
    found: set[int] = set()
    at = int(negated)
    while at < len(text):
        if named := _CLASS.match(text, at):
            if (kind := named[1].decode()) not in _CLASSES:
                raise ConfigError(f"pattern {whole!r}: there is no class {kind!r}")
            found.update(map(ord, _CLASSES[kind]))
            at = named.end()
            continue
        first, at = _byte(text, at)
        last = first
        if text[at : at + 1] == b"-" and at + 1 < len(text):
            last, at = _byte(text, at + 1)
        found.update(range(first, last + 1))
    taken = _ANY - found if negated else _ANY & found
    if not taken:
        raise ConfigError(f"pattern {whole!r}: nothing fits [{text.decode('utf-8', 'replace')}]")
    return taken


def _byte(text: bytes, at: int) -> tuple[int, int]:
    """A byte of a set, and where the next one is."""
    at += text[at : at + 1] == b"\\" and at + 1 < len(text)
    return text[at], at + 1
