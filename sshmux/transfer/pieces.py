"""One large file, in pieces for several sessions. Pure.

A piece begins at a multiple of MIB: that is what `dd` on the remote counts in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIB = 1024 * 1024
SMALL = 32 * MIB  # a file up to this goes as one; and so much goes before its size is known
_SHORTEST = 8 * MIB  # a session costs round trips, in which this much could go
_LONG = 64 * MIB  # of pieces as long as this each stream gets several, so that none waits for long
_TURNS = 4  # of each stream, at the most
_CHUNK = 4 * MIB  # what a checksum is for, when one goes on that was interrupted
_MOST_CHUNKS = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.length


def divided(missing: Sequence[Piece], ways: int, *, begun: int = 0) -> list[Piece]:
    """What is missing, in pieces for so many streams, in the order in which they are taken.

    Parameters:
        begun: bytes that the first of the streams is moving already, and that are not among what
            is missing: it comes later than the others for its next one.
    """
    if ways == 1:
        return list(missing)
    total = begun + sum(piece.length for piece in missing)
    turns = min(max(total // (ways * _LONG), 1), _TURNS)
    share = _whole(-(-total // (ways * turns)))
    if begun and turns == 1 and share < begun + _SHORTEST:
        share = _whole(-(-(total - begun) // max(1, ways - 1)))
    share = max(share, _SHORTEST)
    return [part for piece in missing for part in _cut(piece, share)]


def _cut(piece: Piece, length: int) -> Iterable[Piece]:
    at = piece.start
    while at < piece.end:
        size = min(length, piece.end - at)
        if piece.end - at - size < MIB:  # not a session for the crumbs
            size = piece.end - at
        yield Piece(at, size)
        at += size


def _whole(length: int) -> int:
    return -(-length // MIB) * MIB


def chunk_of(size: int) -> int:
    """How many bytes of a file a checksum is for: a multiple of MIB."""
    return max(_CHUNK, _whole(-(-size // _MOST_CHUNKS)))


def missing(size: int, chunk: int, have: Sequence[str], want: Sequence[str]) -> list[Piece]:
    """What of a file is not there yet.

    Parameters:
        have, want: the checksums of its chunks: of those that are there, and as they should be.
    """
    found: list[Piece] = []
    for number in range(-(-size // chunk)):
        same = number < min(len(have), len(want)) and have[number] == want[number] != ""
        if same:
            continue
        piece = Piece(number * chunk, min(chunk, size - number * chunk))
        if found and found[-1].end == piece.start:
            found[-1] = Piece(found[-1].start, found[-1].length + piece.length)
        else:
            found.append(piece)
    return found
