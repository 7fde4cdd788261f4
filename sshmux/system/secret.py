"""A secret that does not show itself."""

from __future__ import annotations

import re

# A terminal acts on control characters; a lone surrogate is no text that could be sent.
UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
LONGEST = 1000  # bytes: readpassphrase() reads 1,023, and a terminal's line has 1,024 on macOS


def can_be_typed(text: str) -> bool:
    """Whether it is one line that reaches a prompt as it is."""
    return not UNFIT.search(text) and len(text.encode()) <= LONGEST


class Secret:
    """A text that no repr, log line or traceback shows; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")
