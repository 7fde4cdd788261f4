"""The lists of docs/benchmarks.md: ratios, and the medians that they were made from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .figures import ASYNCSSH, BARE, FLOOR, OURS, OWN
from .peers import FABRIC, NET_OPENSSH, PARALLEL, PARAMIKO

_NEAREST = (FLOOR, BARE, ASYNCSSH)
_LIBRARIES = (PARAMIKO, FABRIC, PARALLEL, NET_OPENSSH)
_COLUMNS = (*OWN, *_NEAREST, *_LIBRARIES)


def write(target: Path, found: dict[str, Any]) -> None:
    lines = [*_ratios(found["figures"]), "", *_medians(found["figures"])]
    target.write_text("\n".join(lines) + "\n", "utf-8")


def _ratios(figures: list[dict[str, Any]]) -> Iterator[str]:
    for figure in figures:
        lines = [line for who in figure["ratios"] for line in _engine(figure, who)]
        if lines:
            more = " (more is better)" if figure["better"] == "more" else ""
            yield from _item(f"**{figure['title']}**{more}")
            yield from lines


def _engine(figure: dict[str, Any], who: str) -> Iterator[str]:
    """What one engine's figures are to each peer's, and the goals."""
    ratios = figure["ratios"][who]
    cells = [f"{peer} {_spread(ratios[peer])}" for peer in _NEAREST if peer in ratios]
    cells += [
        f"{peer} {ratio['median']:.2f}" for peer, ratio in ratios.items() if peer not in _NEAREST
    ]
    cells += [_said(goal) for goal in figure["goals"] if _about(goal, who)]
    if cells:
        yield from _item(f"{'ssh' if who == OURS else 'mux'}: {' · '.join(cells)}", "  ")


def _medians(figures: list[dict[str, Any]]) -> Iterator[str]:
    """What only some others have stays in the program's own table."""
    for figure in figures:
        values = [(who, figure["values"].get(who)) for who in _COLUMNS]
        cells = [f"{who} {_short(value)}" for who, value in values if value is not None]
        if cells:
            yield from _item(f"{figure['title']}, in {figure['unit']}: {' · '.join(cells)}")


def _item(text: str, indent: str = "") -> list[str]:
    """One item of a list, in lines of at most 100 characters."""
    return textwrap.wrap(
        *(text, 100),
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _about(goal: dict[str, Any], who: str) -> bool:
    """What is counted, and not of one engine, stands with the first."""
    owner = max((own for own in OWN if goal["goal"].startswith(own)), key=len, default=OURS)
    return owner == who


def _said(goal: dict[str, Any]) -> str:
    said = goal["goal"]
    for who in reversed(OWN):
        said = said.removeprefix(f"{who} ")
    met = {True: "met", False: "**not met**", None: "not measured"}[goal["met"]]
    return f"{said}: {met}"


def _spread(ratio: dict[str, Any]) -> str:
    if ratio["rounds"] == 1:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _short(value: dict[str, Any]) -> str:
    """Three digits."""
    median = value["median"]
    return f"{median:.{0 if abs(median) >= 100 else 1 if abs(median) >= 10 else 2}f}"
