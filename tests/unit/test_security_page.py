"""docs/security.md names tests that are there, for each row of its table and each hole."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, heading
    return found[1]


def named_tests(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`([a-z_/]+\.py)::(\w+)`", text)


def test_every_test_that_is_named_is_there() -> None:
    named = named_tests(PAGE)
    assert len(named) > 40
    for path, name in named:
        tree = ast.parse((TESTS / path).read_text("utf-8"))
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        found = {each.name for each in tree.body if isinstance(each, kinds)}
        assert name in found, f"{path} has no {name}: docs/security.md names it"


def test_every_row_of_the_threat_model_has_tests() -> None:
    table, listed = section("Threat model").split("The tests, by number:")
    rows = re.findall(r"^\| (\d+) \|", table, re.M)
    items = re.split(r"^(\d+)\. ", listed, flags=re.M)[1:]
    tests = dict(zip(items[::2], items[1::2], strict=True))
    assert rows == [str(number) for number in range(1, len(rows) + 1)]
    assert list(tests) == rows
    for number, text in tests.items():
        assert named_tests(text), number


def test_every_hole_has_a_test_or_is_sshs_own() -> None:
    """A hole is a row of its own, once, oldest first in each part."""
    parts = re.split(r"^\*\*", section("OpenSSH's own holes"), flags=re.M)[1:]
    assert len(parts) >= 5
    seen: list[str] = []
    for part in parts:
        numbers: list[tuple[int, int]] = []
        for item in re.split(r"^- ", part, flags=re.M)[1:]:
            said = item.split(":")[0]
            found = re.findall(r"CVE-(\d{4})-(\d{4,})", said)
            assert found, item
            numbers.append((int(found[0][0]), int(found[0][1])))
            seen += [f"{year}-{number}" for year, number in found]
            assert named_tests(item) or "ssh's own" in part.split("\n- ")[0], item
        assert numbers == sorted(numbers)
    assert len(seen) == len(set(seen))
    assert {"2019-6111", "2023-51385", "2025-61984", "2026-35385"} <= set(seen)
