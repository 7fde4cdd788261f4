"""Draws ratios as bars, as SVG written by hand: readable on a light page and on a dark one.

Every bar is a peer. Its length says how many times as fast as the peer sshmux is, on a logarithmic
scale: to the right of the line it is sshmux that is ahead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from .figures import MUX, OWN

# The figures that are drawn, and what they are called there.
_DRAWN = {
    "run.time": "one command, sequential: time",
    "run.cpu": "one command: the program's processor time",
    "parallel.8": "8 at once: commands a second",
    "parallel.32": "32 at once: commands a second",
    "parallel.128": "128 at once: commands a second",
    "small": "4 KB in and out, 32 at once: commands a second",
    "dial.open": "dial: time",
    "dial.many": "50 dials at once: time",
    "health.sweep": "health sweep of 100 masters: time",
    "bulk.time": "stdout into memory: bytes a second",
    "file.time": "stdout to a file: bytes a second",
    "upload.time": "stdin from memory: bytes a second",
}
_LEFT_OUT = ("bare ssh + announcement", "bare ssh, curve25519")
_WIDTH = 840
_NAMES = 150  # the column of the peers' names
_VALUES = 110  # room at the ends of bars, for the numbers
_BAR = 13
_BETWEEN = 4  # rows
_HEAD = 24
_GAP = 10
_TOP = 78
_STYLE = """
  text { font: 11px system-ui, sans-serif; fill: #1f2328; }
  .what { font-weight: 600; font-size: 12px; }
  .title { font-weight: 600; font-size: 15px; }
  .dim { fill: #59636e; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .one { stroke: #59636e; stroke-width: 1.5; }
  .mux { fill: #1a7f37; }
  .ssh { fill: #8250df; }
  .spread { stroke: #59636e; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .dim { fill: #9198a1; }
    .grid { stroke: #3d444d; }
    .one, .spread { stroke: #9198a1; }
    .mux { fill: #3fb950; }
    .ssh { fill: #ab7df8; }
  }"""


@dataclass(frozen=True)
class _Bar:
    """How many times as fast: the median, and the spread."""

    who: str
    peer: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class _Scale:
    """Of the factor, from the slowest to the fastest that is shown."""

    lowest: float
    highest: float

    def x(self, factor: float) -> float:
        begin, end = math.log(self.lowest), math.log(self.highest)
        clipped = min(max(factor, self.lowest), self.highest)
        part = (math.log(clipped) - begin) / (end - begin)
        return _NAMES + part * (_WIDTH - _NAMES - _VALUES)


def write(target: Path, found: dict[str, Any]) -> None:
    target.write_text(_drawing(found), "utf-8")


def _drawing(found: dict[str, Any]) -> str:
    groups = {
        _DRAWN[figure["key"]]: _rows(figure)
        for figure in found["figures"]
        if figure["key"] in _DRAWN
    }
    groups = {title: rows for title, rows in groups.items() if rows}
    medians = [bar.median for rows in groups.values() for bars in rows.values() for bar in bars]
    scale = _Scale(min([0.5, *medians]) / 1.1, max([2.0, *medians]) * 1.1)
    y = _TOP
    parts = []
    for title, rows in groups.items():
        y += _HEAD
        parts.append(f'<text class="what" x="4" y="{y - 6}">{escape(title)}</text>')
        for peer, bars in rows.items():
            parts += _row(peer, bars, scale, y)
            y += _BAR * len(bars) + _BETWEEN
        y += _GAP
    return "\n".join([*_head(found, y), *_grid(scale, y), *parts, "</svg>\n"])


def _rows(figure: dict[str, Any]) -> dict[str, list[_Bar]]:
    """By their peers, in the order of the figure."""
    rows: dict[str, list[_Bar]] = {who: [] for who in figure["values"]}
    for bar in _bars(figure):
        rows[bar.peer].append(bar)
    return {peer: bars for peer, bars in rows.items() if bars}


def _bars(figure: dict[str, Any]) -> Iterator[_Bar]:
    """Those of the mux engine first."""
    for who in reversed(OWN):
        for peer, ratio in figure["ratios"].get(who, {}).items():
            if peer in _LEFT_OUT or peer in OWN:
                continue
            median, low, high = ratio["median"], ratio["min"], ratio["max"]
            if figure["better"] == "less":
                median, low, high = 1 / median, 1 / high, 1 / low
            yield _Bar(who, peer, median, low, high)


def _head(found: dict[str, Any], height: int) -> Iterator[str]:
    about = found["machine"]
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    yield "<title>How many times as fast as its peers sshmux is</title>"
    yield f"<style>{_STYLE}\n</style>"
    title = "How many times as fast (or as cheap) as each peer: right of 1 x, sshmux is ahead"
    yield f'<text class="title" x="4" y="18">{title}</text>'
    for x, kind, name in ((4, "mux", 'sshmux, engine="mux"'), (170, "ssh", 'sshmux, engine="ssh"')):
        yield f'<rect class="{kind}" x="{x}" y="28" width="10" height="10"/>'
        yield f'<text x="{x + 15}" y="37">{escape(name)}</text>'
    said = (
        f"one run ({found['plan']}): {about['processors']} processors, {about['system']}, OpenSSH "
        f"{about['openssh']}, Python {about['python']}; thin lines: lowest to highest"
    )
    yield f'<text class="dim" x="4" y="54">{escape(said)}</text>'


def _grid(scale: _Scale, height: int) -> Iterator[str]:
    for factor in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        if not scale.lowest <= factor <= scale.highest:
            continue
        x = scale.x(factor)
        kind = "one" if factor == 1 else "grid"
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height}"'
        yield f'<line class="{kind}" {line}/>'
        place = f'x="{x:.1f}" y="{_TOP - 6}" text-anchor="middle"'
        yield f'<text class="dim" {place}>{factor:g} x</text>'


def _row(peer: str, bars: list[_Bar], scale: _Scale, y: int) -> Iterator[str]:
    middle = y + _BAR * len(bars) / 2
    yield f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(peer)}</text>'
    for number, bar in enumerate(bars):
        yield from _drawn(bar, scale, y + number * _BAR)


def _drawn(bar: _Bar, scale: _Scale, y: int) -> Iterator[str]:
    middle = y + _BAR / 2
    one, end = scale.x(1), scale.x(bar.median)
    kind = "mux" if bar.who == MUX else "ssh"
    left, width = min(one, end), max(1.0, abs(end - one))
    place = f'x="{left:.1f}" y="{y + 1}" width="{width:.1f}" height="{_BAR - 2}"'
    yield f'<rect class="{kind}" {place}/>'
    low, high = scale.x(bar.low), scale.x(bar.high)
    line = f'x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"'
    yield f'<line class="spread" {line}/>'
    x = max(end, high, one) + 5
    digits = 0 if bar.median >= 10 else 1 if bar.median >= 2 else 2
    yield f'<text class="dim" x="{x:.1f}" y="{middle + 4}">{bar.median:.{digits}f} x</text>'
