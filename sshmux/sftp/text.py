"""Text in remote files, purely: encodings whose mark stands at the start of a file, and lines."""

from __future__ import annotations

import codecs

_MARKS = {  # encodings that begin a file with a mark of themselves, and its length in bytes
    "utf-16": len(codecs.BOM_UTF16),
    "utf-32": len(codecs.BOM_UTF32),
    "utf-8-sig": len(codecs.BOM_UTF8),
}


class Text:
    """An encoding, as a file has it.

    Parameters:
        errors: how to encode and decode what is not valid in it.
    Attributes:
        mark_length: bytes of the mark that a file begins with; 0 for none.
        mark: the first bytes of the file, where they are known.
    """

    def __init__(self, encoding: str, errors: str) -> None:
        self._encoding = encoding
        self._errors = errors
        self.mark_length = _MARKS.get(codecs.lookup(encoding).name, 0)
        self.mark: bytes | None = None
        self._newline = b"" if self.mark_length else "\n".encode(encoding)

    def encode(self, text: str, *, at_start: bool) -> bytes:
        """A part of a file; the mark comes with the first, and with no other."""
        if not self.mark_length or at_start:
            return text.encode(self._encoding, self._errors)
        if self._is_swapped():
            return text.encode(f"{codecs.lookup(self._encoding).name}-be", self._errors)
        encoder = codecs.getincrementalencoder(self._encoding)(self._errors)
        encoder.setstate(0)  # behind the mark
        return encoder.encode(text, final=True)

    def decode(self, data: bytes, *, at_start: bool) -> str:
        """A whole part of a file, from the start of a character to an end of one."""
        if not self.mark_length:
            return data.decode(self._encoding, self._errors)
        return self.decoder(at_start=at_start).decode(data, final=True)

    def _is_swapped(self) -> bool:
        return self.mark in (codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)

    def decoder(self, *, at_start: bool) -> codecs.IncrementalDecoder:
        """A decoder for a part of a file."""
        decoder = codecs.getincrementaldecoder(self._encoding)(self._errors)
        if self.mark_length and not at_start and self._is_mark():
            decoder.decode(self.mark or b"")
        return decoder

    def is_within(self, decoder: codecs.IncrementalDecoder, begun: int) -> bool:
        """Whether it has read a part of a character, or is shifted: `begun` is its first state."""
        pending, state = decoder.getstate()
        return bool(pending) or (not self.mark_length and state != begun)

    def _is_mark(self) -> bool:
        marks = codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
        return self.mark in (*marks, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

    def line_end(self, data: bytes, start: int, searched: int) -> int:
        """Where the line that begins at `start` ends: behind its newline; -1 if that is not there.

        Parameters:
            searched: up to there it is not.
        """
        newline = self._newline or self.encode("\n", at_start=False)
        # What looks like one may be halves of two characters.
        at = data.find(newline, max(start, searched - len(newline) + 1))
        while at >= 0 and (at - start) % len(newline):
            at = data.find(newline, at + 1)
        return at + len(newline) if at >= 0 else -1
