"""The words for `find` that choose what `exclude=` and `include=` choose. Pure.

Its `-regex` fits whole paths. What is written here means the same as a basic regular expression
(BSD's and BusyBox's find) and in Emacs's syntax (GNU's): letters in brackets, `*`, and groups.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ..system.selection import Name, Pattern, Selection

_NAME = r"[^/][^/]*"
_BELOW = r"\(/[^/]*\)*"  # the thing itself, and all that is in it
_PLAIN = re.compile(rb"[A-Za-z0-9/_~%@:,=\x80-\xff -]")  # (a blank is one, too)
_BYTES = frozenset(range(1, 256)) - {ord("/")}


def chosen(selection: Selection, root: str = ".") -> list[str]:
    """Words after which only what is meant goes on to the next one, such as `-print0`.

    Parameters:
        root: what the names are in, as find has it.
    """
    words = [*_prune(selection, root), "("]
    kinds = ["-type", "f", "-o", "-type", "l"]
    if selection.include:
        kinds = ["(", *kinds, ")", *_group(selection.include, root, below=True)]
    return [*words, "-type", "d", "-o", *kinds, ")"]


def foreign(selection: Selection, root: str = ".") -> list[str]:
    """Words after which only what is not meant goes on, and not what is in it."""
    words = ["("]
    if selection.exclude:
        words += [*_group(selection.exclude, root), "-prune"]
    if selection.include:
        words += ["-o"] * bool(selection.exclude)
        words += ["!", "-type", "d", "!", *_group(selection.include, root, below=True)]
    return [*words, ")"]


def _prune(selection: Selection, root: str) -> list[str]:
    return [*_group(selection.exclude, root), "-prune", "-o"] if selection.exclude else []


def _group(patterns: Sequence[Pattern], root: str, *, below: bool = False) -> list[str]:
    words: list[str] = []
    for pattern in patterns:
        fitting = f"{_bracketed(os.fsencode(root))}/{_pattern(pattern)}"
        if pattern.directory:
            one = ["(", "-type", "d", "-regex", fitting, ")"]
            if below:
                one += ["-o", "-regex", f"{fitting}/{_NAME}{_BELOW}"]
        else:
            one = ["-regex", fitting + _BELOW * below]
        words += ["-o", *one]
    return ["(", *words[1:], ")"]


def _pattern(pattern: Pattern) -> str:
    found = []
    for at, name in enumerate(pattern.names, 1 - len(pattern.names)):
        if name is None:
            found.append(r"\([^/]*/\)*" if at else _NAME + _BELOW)
        else:
            found.append(_name(name) + "/" * (at < 0))
    return "".join(found)


def _name(name: Name) -> str:
    return "".join("[^/]*" if part is None else _set(part) for part in name)


def _set(part: frozenset[int]) -> str:
    if not part:
        return "/"  # nothing: paths have no two in a row
    if len(part) == 1:
        return _bracketed(bytes(part))
    left_out = _BYTES - part
    if len(left_out) < len(part):
        return f"[^{_listed(left_out | {ord('/')})}]"
    return f"[{_listed(part)}]"


def _listed(part: frozenset[int]) -> str:
    """The bytes as they may stand in brackets, whatever they are."""
    special = {byte: byte in part for byte in b"]^[-"}
    letters = os.fsdecode(bytes(sorted(part - set(special))))
    ends = "[" * special[ord("[")] + "^" * special[ord("^")] + "-" * special[ord("-")]
    first = "]" * special[ord("]")]
    return first + letters + ends if first or letters else _of_specials(ends)


def _of_specials(ends: str) -> str:
    """Only of `[`, `^` and `-`, of which a `^` may not be the first."""
    return ends if not ends.startswith("^") else "-^"


def _bracketed(text: bytes) -> str:
    """The text itself: a bracket around what may mean something."""
    found = []
    for byte in text:
        letter = bytes([byte])
        if _PLAIN.match(letter):
            found.append(letter)
        else:
            found.append(rb"\^" if letter == b"^" else b"[" + letter + b"]")
    return os.fsdecode(b"".join(found))
