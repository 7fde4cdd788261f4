"""Paths on the remote, purely: bytes on the wire, and what the caller gave."""

from __future__ import annotations

import posixpath
from pathlib import PurePath

SFTPPath = bytes | str | PurePath


class Paths:
    """How paths become bytes and come back, and which directory relative ones are in.

    Parameters:
        encoding: of paths given as str; None to take and give bytes only.
        errors: how to encode and decode what is not valid in that encoding.
    """

    def __init__(self, encoding: str | None, errors: str) -> None:
        self.encoding = encoding
        self.errors = errors
        self.cwd: bytes | None = None  # None: wherever the server begins

    def encode(self, path: SFTPPath) -> bytes:
        """In bytes. Raises `TypeError`, or `ValueError` for what no path can be."""
        if isinstance(path, PurePath):
            path = str(path)
        if isinstance(path, str):
            if self.encoding is None:
                raise TypeError(f"path {path!r}: give bytes, since path_encoding is None")
            path = path.encode(self.encoding, self.errors)
        elif not isinstance(path, bytes):
            raise TypeError(f"path {path!r}: give a str, bytes, or a pathlib path")
        if b"\0" in path:
            raise ValueError(f"path {path!r}: no path can have a NUL in it")
        return path

    def decode(self, path: bytes, want_string: bool = True) -> bytes | str:
        """As str, unless bytes are wanted."""
        if want_string and self.encoding is not None:
            return path.decode(self.encoding, self.errors)
        return path

    def compose(self, path: SFTPPath, parent: bytes | None = None) -> bytes:
        """In bytes, from the directory it is in."""
        start = self.cwd if parent is None else parent
        name = self.encode(path)
        return name if start is None else posixpath.join(start, name)


def shown(text: bytes) -> str:
    """A path, or a server's words, for people: nothing in it moves a terminal's cursor."""
    decoded = text.decode("utf-8", "backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in decoded
    )


def basename(path: bytes) -> bytes:
    """The last name in a path; of a directory with a slash after it, too."""
    return posixpath.basename(path.rstrip(b"/") or path)
