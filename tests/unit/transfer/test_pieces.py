"""A file in pieces: every byte once, each beginning where `dd` can skip to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sshmux.transfer.pieces import MIB, SMALL, Piece, chunk_of, divided, missing

SIZES = st.integers(1, 1 << 45) | st.integers(1, 2000).map(lambda count: count * MIB)
WAYS = st.integers(1, 64)


def covered(pieces: list[Piece], whole: list[Piece]) -> None:
    left = list(whole)
    for piece in pieces:
        assert piece.length > 0
        assert piece.start % MIB == 0
        first = left.pop(0)
        assert piece.start == first.start
        assert piece.end <= first.end
        if piece.end < first.end:
            left.insert(0, Piece(piece.end, first.end - piece.end))
    assert not left


@given(SIZES, WAYS)
def test_every_byte_goes_once(size: int, ways: int) -> None:
    covered(divided([Piece(0, size)], ways), [Piece(0, size)])
    if size > SMALL:
        rest = [Piece(SMALL, size - SMALL)]
        covered(divided(rest, ways, begun=SMALL), rest)


@given(SIZES, st.integers(2, 64))
def test_nobody_has_much_more_than_the_others(size: int, ways: int) -> None:
    """Whoever is free takes the next piece: the last one ends a piece after the first, at most."""
    pieces = divided([Piece(0, size)], ways)
    busy = [0] * ways
    for piece in pieces:
        busy[busy.index(min(busy))] += piece.length
    assert len(pieces) <= 4 * ways + 1
    assert max(busy) <= max(8 * MIB, -(-size // ways)) + 4 * MIB + MIB


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 50), st.integers(1, 16 * MIB), WAYS)
def test_what_is_missing_is_what_differs(
    same: list[bool], count: int, last: int, ways: int
) -> None:
    chunk = chunk_of(0)
    size = (count - 1) * chunk + min(last, chunk)
    have = [f"{number}" if each else "other" for number, each in enumerate(same)]
    found = missing(size, chunk, have, [f"{number}" for number in range(count)])
    lacking = {
        number for piece in found for number in range(piece.start // chunk, -(-piece.end // chunk))
    }
    assert lacking == {n for n in range(count) if n >= len(same) or not same[n]}
    assert sum(piece.length for piece in found) == sum(
        min(chunk, size - number * chunk) for number in lacking
    )
    covered(divided(found, ways), found)


@given(SIZES)
def test_checksums_are_not_too_many(size: int) -> None:
    chunk = chunk_of(size)
    assert chunk % MIB == 0
    assert -(-size // chunk) <= 4096
