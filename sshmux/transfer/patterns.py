"""Shell patterns, matched here, so that no server has a say in what was asked for. Pure.

The remote's shell finds what fits a pattern; whatever it tells is held against the pattern again
(CVE-2019-6111 is what comes of trusting it).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..system.selection import end_of_set

_LONGEST = 4096  # bytes of a path (PATH_MAX): a longer one is no file's
_MAGIC = re.compile(r"[*?\[]")
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_CLASS = re.compile(r"\[:([a-z]+):\]")


def has_magic(path: str) -> bool:
    """Whether a shell would expand it."""
    return _MAGIC.search(path) is not None


def asked_for(name: str, named: Iterable[str]) -> bool:
    """Whether a name was asked for: as it is, or by a pattern."""
    return any(name == each or (has_magic(each) and fits(name, each)) for each in named)


def fits(path: str, pattern: str) -> bool:
    """Whether a path is one that a POSIX shell makes of a pattern, in the C locale."""
    if len(path) > _LONGEST:
        return False
    parts, wanted = _parts(_bytewise(path)), _parts(_bytewise(pattern))
    return len(parts) == len(wanted) and all(map(_fits, parts, wanted))


def _bytewise(text: str) -> str:
    """A letter for each byte: one is what a `?` stands for there."""
    return os.fsencode(text).decode("latin-1")


def _parts(path: str) -> list[str]:
    """The names of a path; whether it begins at the root, and whether it ends with a slash."""
    absolute, slashed = path.startswith("/"), path.endswith("/")
    names = [name for name in path.split("/") if name]
    return ["/" * absolute, *names, "/" * slashed]


def _fits(name: str, pattern: str) -> bool:
    if not has_magic(pattern) and "\\" not in pattern:
        return name == pattern
    if name.startswith(".") and not pattern.startswith((".", "\\.")):
        return False
    return _compiled(pattern).fullmatch(name) is not None


def wildcard(pieces: Sequence[str]) -> str:
    """The regular expression for pieces of one with a `*` between each two.

    What a `*` takes is settled once, the shortest: a server's name cannot keep us busy for long.
    """
    first, *others = pieces
    if not others:
        return first
    return first + "".join(f"(?>.*?{piece})" for piece in others[:-1]) + ".*" + others[-1]


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces: list[list[str]] = [[]]
    raw, at = pattern.encode("latin-1"), 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            pieces.append([])
        elif letter == "?":
            pieces[-1].append(".")
        elif letter == "\\" and at < len(pattern):
            pieces[-1].append(re.escape(pattern[at]))
            at += 1
        elif letter == "[" and (end := end_of_set(raw, at)) is not None:
            pieces[-1].append(_set(pattern[at:end]))
            at = end + 1
        else:
            pieces[-1].append(re.escape(letter))
    return re.compile(wildcard(["".join(piece) for piece in pieces]), re.DOTALL)


def _set(text: str) -> str:
    """A regular expression's set for a shell's."""
    if text.startswith("^"):
        return "."  # negated in some shells, a letter in others: either is what was meant
    negated = text.startswith("!")
    found, at = [], int(negated)
    while at < len(text):
        if named := _CLASS.match(text, at):
            found.append(_CLASSES.get(named[1], ""))
            at = named.end()
        elif text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            first, last = text[at], text[at + 2]
            if first <= last:
                found.append(f"{re.escape(first)}-{re.escape(last)}")
            at += 3
        else:
            at += text[at] == "\\" and at + 1 < len(text)
            found.append(re.escape(text[at]))
            at += 1
    inside = "".join(found)
    if not inside:
        return "." if negated else r"(?!)"
    return f"[{'^' if negated else ''}{inside}]"


def last_name(path: str) -> str:
    """The name that a source has in its directory; empty for what is in a directory (`dir/.`)."""
    name = posixpath.basename(path.rstrip("/"))
    return "" if name in ("", ".") else name
