"""A secret that does not show itself."""

from __future__ import annotations

import re
from typing import cast

# A terminal acts on control characters; a lone surrogate is no text that could be sent.
UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
LONGEST = 1000  # bytes: readpassphrase() reads 1,023, and a terminal's line has 1,024 on macOS


def can_be_typed(text: str) -> bool:
    """Whether it is one line that reaches a prompt as it is."""
    return not UNFIT.search(text) and len(text.encode()) <= LONGEST


class Secret:
    """A text that no repr, log line or traceback shows; `reveal()` is the only way to it.

    Whoever takes a secret as a plain text makes one of these in his first line, and forgets the
    text: tracebacks are shown with the variables of their frames (by pytest, rich, Sentry).
    `reveal()` is called where the text is needed, and its result given no name.

    Parameters:
        value: what was given for one; `unfit` tells whether it is a text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return cast("str", self._value)

    @property
    def unfit(self) -> str | None:
        """Why no prompt takes it, in words that follow "it"; None if one does."""
        if not isinstance(self._value, str):
            return "is no text (a str)"
        if not self._value:
            return "is empty"
        if UNFIT.search(self._value):
            return "has a control character in it"
        if len(self._value.encode()) > LONGEST:
            return f"is longer than {LONGEST:,} bytes"
        return None

    def copy(self) -> Secret:
        """Another one of the same text, to be given once more."""
        return Secret(self._value)

    def same(self, other: Secret) -> bool:
        """Whether it is the same text."""
        return self._value == other._value

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")
