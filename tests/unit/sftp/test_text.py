"""Text whose encoding begins a file with a mark, and lines of characters of several bytes."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.sftp.text import Text

ENCODINGS = [
    *["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp037"],
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(parts=st.lists(st.text(st.characters(max_codepoint=0xFF), max_size=5), max_size=5))
def test_parts_are_one_text(encoding: str, parts: list[str]) -> None:
    text, written = Text(encoding, "strict"), b""
    for part in parts:
        written += text.encode(part, at_start=not written)
    assert written.decode(encoding) == "".join(parts)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(whole=st.text(st.sampled_from("a\nऀਊ\n੊"), max_size=20))
def test_lines(encoding: str, whole: str) -> None:
    """U+0A00 and the like have the byte of a newline in them, and are none."""
    if encoding in ("latin-1", "cp037"):
        whole = whole.encode("ascii", "ignore").decode()
    text = Text(encoding, "strict")
    data = whole.encode(encoding)
    text.mark = data[: text.mark_length]
    start, lines = 0, []
    while (end := text.line_end(data, start, start)) > 0:
        lines.append(text.decode(data[start:end], at_start=start == 0))
        start = end
    lines.append(text.decode(data[start:], at_start=start == 0))
    *ended, last = whole.split("\n")
    assert lines == [*(f"{line}\n" for line in ended), last]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE])
def test_the_mark_of_a_file_says_how_the_rest_is_read(mark: bytes) -> None:
    order = "be" if mark == codecs.BOM_UTF16_BE else "le"
    text = Text("UTF-16", "strict")
    text.mark = mark
    assert text.decode("grüße".encode(f"utf-16-{order}"), at_start=False) == "grüße"
    assert text.encode("x", at_start=False) == "x".encode(f"utf-16-{order}")
