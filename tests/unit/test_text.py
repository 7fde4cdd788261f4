"""Strangers' text on its way to a terminal."""

from __future__ import annotations

import ast
import inspect
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sshmux
from sshmux import errors
from sshmux.text import cleaned, one_line

CLI = Path(inspect.getfile(sshmux)).parent / "cli"
ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = "\x1b]0;x\x07 \x9b2J \u202e \u2066 \x00 \r \u200b \ufeff \udcff \U000e0041"


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    clean = one_line(text)
    assert clean.isprintable() or not [
        letter for letter in clean if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    assert "\n" not in clean
    clean.encode()  # and it can be printed


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert cleaned(text) == text
    assert one_line(cleaned(f"a\n{text}\tb")) == f"a\\n{text}\\tb"


def test_how_it_is_spelled() -> None:
    assert cleaned("a\x1b[2J\u202eb\udcff\n") == "a\\x1b[2J\\u202eb\\xff\n"


@pytest.mark.parametrize("name", errors.__all__)
def test_no_error_shows_it(name: str) -> None:
    error = getattr(sshmux, name)
    made = error(HOSTILE, "en") if name.startswith("SFTP") else error(HOSTILE)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", str(made)
    )
    assert "\\x1b" in str(made)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_the_command_prints_by_one_function(path: Path) -> None:
    """And no table knows rich's markup."""
    if path.stem in ("formatting", "completion"):
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("click.echo", "click.secho", "print", "sys.stderr.write"), path
            assert not called.endswith(("add_row", "console.print")), path
