"""The tables of docs/benchmarks.md: ratios, and the medians that they were made from."""

from __future__ import annotations

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
    peers = "".join(f" to {peer} |" for peer in _NEAREST)
    yield f"| what | engine |{peers} to others | goals |"
    yield "|---|---|" + "---|" * len(_NEAREST) + "---|---|"
    for figure in figures:
        more = " (more is better)" if figure["better"] == "more" else ""
        title = figure["title"] + more
        for who, ratios in figure["ratios"].items():
            goals = [each for each in figure["goals"] if _about(each, who)]
            if not ratios and not goals:
                continue
            near = "".join(f" {_spread(ratios.get(peer))} |" for peer in _NEAREST)
            others = ", ".join(
                f"{peer} {ratio['median']:.2f}"
                for peer, ratio in ratios.items()
                if peer not in _NEAREST
            )
            engine = "ssh" if who == OURS else "mux"
            yield f"| {title} | {engine} |{near} {others} | {'; '.join(map(_said, goals))} |"
            title = ""


def _medians(figures: list[dict[str, Any]]) -> Iterator[str]:
    """What only some others have stays in the program's own table."""
    yield "".join(f"| {name} " for name in ("what", *_COLUMNS, "")) + "|"
    yield "|---|" + "--:|" * len(_COLUMNS) + "---|"
    for figure in figures:
        cells = [_short(figure["values"].get(who)) for who in _COLUMNS]
        yield "".join(f"| {cell} " for cell in (figure["title"], *cells, figure["unit"])) + "|"


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


def _spread(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    if ratio["rounds"] == 1:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _short(value: dict[str, Any] | None) -> str:
    """Three digits."""
    if value is None:
        return ""
    median = value["median"]
    return f"{median:.{0 if abs(median) >= 100 else 1 if abs(median) >= 10 else 2}f}"
