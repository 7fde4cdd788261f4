"""Text of others on its way to a terminal, a log or a message.

What a server, a file's name or a host's name holds may be an order to the terminal that shows it
(escape sequences: C0 and C1 control characters), or make it show another text than there is
(characters that change the direction of writing, or that cannot be seen).
"""

from __future__ import annotations

import logging
import re

_KEPT = "\n\t"
# C0, DEL and C1; what changes the direction, or is invisible (Cf of Unicode, as far as it is used
# for that); line and paragraph separators; bytes that are no UTF-8.
_DANGEROUS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def cleaned(text: str, *, kept: str = _KEPT) -> str:
    r"""The text with what is dangerous spelled out: `\x1b`, `\u202e`.

    Parameters:
        kept: control characters that are left as they are; "" for a text that is one line.
    """
    return _DANGEROUS.sub(lambda found: found[0] if found[0] in kept else _spelled(found[0]), text)


def one_line(text: str) -> str:
    """The same, of a text that has to stay one line."""
    return cleaned(text, kept="")


class _Clean(logging.Filter):
    """Makes a record fit for whatever handler it goes to; no line of it looks like another's."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        record.msg, record.args = _lines(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _lines(logging.Formatter().formatException(record.exc_info))
        return True


_CLEAN = _Clean()


def logger(name: str) -> logging.Logger:
    """A logger of ours: what others wrote in its records is cleaned before any handler has them."""
    found = logging.getLogger(name)
    found.addFilter(_CLEAN)  # once: it is the same one
    return found


def _lines(text: str) -> str:
    return cleaned(text).replace("\n", "\n    ")


def _spelled(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(letter, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
