"""Whatever handler a program has: what others wrote reaches it clean, from every logger of ours."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
from pathlib import Path

import pytest

import sshmux

HOSTILE = "\x1b]0;OWNED\x07\x9b31m\u202etxt.exe\rx\n2026-01-01 CRITICAL root: forged"
ROOT = Path(sshmux.__file__).parent


def loggers() -> dict[str, logging.Logger]:
    """Of all modules of ours, by the module."""
    found = {}
    for module in pkgutil.walk_packages([str(ROOT)], "sshmux."):
        if module.name.endswith("__main__"):
            continue
        log = getattr(importlib.import_module(module.name), "log", None)
        if isinstance(log, logging.Logger):
            found[module.name] = log
    return found


class Handler(logging.Handler):
    """One that formats nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += logging.Formatter("%(message)s").format(record).split("\n")


def test_every_logger() -> None:
    found = loggers()
    assert len(found) >= 25
    for name, log in found.items():
        handler = Handler()
        log.addHandler(handler)
        try:
            log.critical("%s and %r: %s", HOSTILE, HOSTILE, OSError(HOSTILE))
            log.critical(f"{HOSTILE} 100%")
            try:
                raise ValueError(HOSTILE)
            except ValueError:
                log.exception("it failed")
        finally:
            log.removeHandler(handler)
        text = "".join(handler.lines)
        assert text.isprintable(), name
        assert "txt.exe" in text
        assert not [line for line in handler.lines if line.startswith("2026")], name


def test_no_logger_is_made_otherwise() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text("utf-8")
        assert path.name == "text.py" or not re.search(r"getLogger\(|logging\.\w+\(\"", text), path


@pytest.mark.parametrize("level", [logging.DEBUG, logging.CRITICAL])
def test_what_is_not_wanted_costs_nothing(level: int) -> None:
    class Text:
        """Says when it was asked for."""

        asked = 0

        def __str__(self) -> str:
            Text.asked += 1
            return "x"

    log = loggers()["sshmux.transfer.remote"]
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        log.log(level, "%s", Text())
    finally:
        log.setLevel(before)
    assert Text.asked == (level == logging.CRITICAL)
