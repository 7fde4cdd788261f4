"""Times, numbers and ranges as schedulers write them. What cannot be read is None.

What is read from a cluster may be anything: `int` refuses "²", and 5,000 digits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

from ...errors import ConfigError
from ..job import array_indices

_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})")
_CTIME = re.compile(
    r"[A-Z][a-z]{2} +([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})\Z"
)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def number(text: str) -> int | None:
    """A whole number without a sign."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def iso(text: str) -> float | None:
    """2026-11-26T01:26:07 in UTC, and in some versions with milliseconds."""
    found = _ISO.match(text)
    return None if found is None else _utc(*map(int, found.groups()))


def ctime(text: str) -> float | None:
    """Thu Nov 26 01:26:05 2026, in UTC."""
    found = _CTIME.match(text)
    if found is None or found[1] not in _MONTHS:
        return None
    day, hour, minute, second, year = map(int, found.groups()[1:])
    return _utc(year, _MONTHS.index(found[1]) + 1, day, hour, minute, second)


def _utc(*numbers: int) -> float | None:
    year, month, day, hour, minute, second = numbers
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def seconds_of(text: str) -> float | None:
    """[D-]HH:MM:SS, MM:SS."""
    days, dash, clock = text.rpartition("-")
    numbers = [number(part) for part in [*([days] if dash else ["0"]), *clock.split(":")]]
    known = [each for each in numbers if each is not None]
    if len(known) < len(numbers) or len(known) > 4:
        return None
    seconds = 0
    for each in known[1:]:
        seconds = seconds * 60 + each
    return float(seconds + known[0] * 86400)


def span_of(array: str, scheduler: str, least: int) -> tuple[str, str]:
    """An array as one range, and how many at once ("" for all).

    Raises `ConfigError` for what is none, or begins below `least`.
    """
    indices = array_indices(array)
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if indices[0] < least or any(b - a != step for a, b in pairwise(indices)):
        raise ConfigError(
            f"array={array!r}: {scheduler} takes one range from {least} on, such as '1-10' or "
            "'2-10:2'"
        )
    return f"{indices[0]}-{indices[-1]}:{step}", array.partition("%")[2]
