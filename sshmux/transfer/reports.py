"""What the remote's scripts report, and the errors that it means. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    NoSpaceLeft,
    SourceChanged,
    SourceNotFound,
    TransferDenied,
    TransferError,
)
from ..text import cleaned
from .scripts import DEEPEST, MARK


def number(text: str, base: int = 10) -> int | None:
    """A number that a script told, if it is one."""
    digits = "01234567" if base == 8 else "0123456789"
    if not 0 < len(text) <= 18 or any(letter not in digits for letter in text):
        return None
    return int(text, base)


def report(stderr: str) -> tuple[dict[str, str], str]:
    """What a script said, by its first word; and the rest of what came on stderr."""
    said, rest = {}, []
    for line in stderr.splitlines():
        if line.startswith(MARK + " "):
            word, _, text = line[len(MARK) + 1 :].partition(" ")
            said[word] = text
        elif line:
            rest.append(line)
    return said, "\n".join(rest)


_REASONS: Sequence[tuple[str, type[TransferError]]] = (
    ("No space left", NoSpaceLeft),
    ("quota exceeded", NoSpaceLeft),
    ("File too large", NoSpaceLeft),
    ("size limit exceeded", NoSpaceLeft),  # a shell, of a program that SIGXFSZ ended
    ("Filesize limit", NoSpaceLeft),  # the same
    ("SIGXFSZ", NoSpaceLeft),
    ("Wrote only", NoSpaceLeft),  # GNU tar
    ("Permission denied", TransferDenied),
    ("Operation not permitted", TransferDenied),
    ("Read-only file system", TransferDenied),
)


def failure(stderr: str, status: int, source: str, target: str) -> TransferError:
    """The error for a script that did not do what it should."""
    told, rest = report(stderr)
    said = {word: cleaned(text) for word, text in told.items()}
    rest = cleaned(rest)
    what = f"{cleaned(source)} to {cleaned(target)}"
    if "missing" in said:
        return SourceNotFound(f"{what}: there is no such file: {said['missing'] or source}")
    if "denied" in said:
        return TransferDenied(f"{what}: permission denied on the remote")
    if "nodir" in said:
        return SourceNotFound(
            f"{what}: on the remote is no directory {said['nodir']}: use parents=True to make it"
        )
    if "isdir" in said:
        return TransferError(f"{what}: that is a directory (for a whole one: recurse=True)")
    if "clash" in said:
        return TransferError(
            f"{what}: on the remote {said['clash']} is a link or a file, where a directory "
            "belongs, or the other way round: nothing was moved"
        )
    if "part" in said:
        return TransferDenied(
            f"{what}: on the remote {said['part']} is there, and is no part of yours: remove it"
        )
    if "deep" in said:
        return TransferError(f"{what}: more than {DEEPEST} directories in one another")
    if "foreign" in said:
        return TransferError(
            f"{what}: refused: the source sent {said['foreign']}, which was not asked for"
        )
    if "special" in said:
        return TransferError(f"{what}: that is neither a file nor a directory")
    if "short" in said:
        return SourceChanged(
            f"{what}: {said['short']} bytes arrived, which is not its size: the file changed "
            "while it was sent"
        )
    text = "\n".join(filter(None, (said.get("write", ""), rest))) or f"exit status {status}"
    kind = next((kind for words, kind in _REASONS if words in text), TransferError)
    return kind(f"{what}: {text}")
