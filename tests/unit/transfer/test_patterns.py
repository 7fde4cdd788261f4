"""Patterns are matched as shells match them: held against the shells of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.transfer.patterns import asked_for, fits, has_magic, last_name

FILES = ["a", "b", "ab", "a.csv", "b.csv", ".hidden", "A", "5", "-", "]", "^", "!", "a b", "*", "["]
FILES += ["d/a", "d/b.csv", "d/.x", "e/a", "\\", "ü", "[a]", "d/e/a"]
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("patterns")
    for name in FILES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    return top


def expanded(tree: Path, shell: str, pattern: str) -> list[str]:
    words = [shell, "sh"] if shell == "busybox" else [shell]
    script = 'IFS=; set -- $1; for f do if [ -e "$f" ]; then printf "%s\\0" "$f"; fi; done'
    found = subprocess.run(
        [*words, "-c", script, "sh", pattern],
        cwd=tree,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    return os.fsdecode(found.stdout).split("\0")[:-1]


PATTERNS = ["*", "?", "*.csv", "[ab]*", "[!a]*", "[^a]*", ".*", "*/a", "*/*", "d/*", "[a-c]", "[]]"]
PATTERNS += [
    "[]a]",
    "[!]a]",
    "[[:digit:]]",
    "[[:alpha:]]*",
    "[[:upper:]ab]",
    "[",
    "[a",
    "a[",
    "\\*",
]
PATTERNS += ["[*]", "*[.]csv", "./*", "d//*", "*/", "??", "[-a]", "[a-]", "[\\]]", "*b*", "[z-a]"]
PATTERNS += ["\\*"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_shell_finds_was_asked_for(tree: Path, shell: str, pattern: str) -> None:
    for name in expanded(tree, shell, pattern):
        assert asked_for(name, [pattern]), name


PIECES = st.sampled_from(
    ["a", "b", "*", "?", "[", "]", "!", "-", "[ab]", "[!a]", ".", "c", "/", "\\"]
)


@given(pattern=st.lists(PIECES, min_size=1, max_size=5).map("".join))
def test_any_pattern(tree: Path, pattern: str) -> None:
    for name in expanded(tree, SHELLS[0], pattern):
        assert asked_for(name, [pattern])


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        *[(".bashrc", "*"), ("../a", "*"), ("d/a", "*"), ("/a", "*"), ("a/../b", "*/b"), ("", "*")],
        *[("b", "[!b]"), ("a.csv.sh", "*.csv"), ("xa", "a"), (".x", "[!a]*"), ("a\n.bashrc", "a")],
        *[("d/.x", "d/*"), ("A", "[[:lower:]]"), ("a/b", "a?b"), ("..", "*"), ("..", "?*")],
    ],
)
def test_what_no_shell_makes_of_it(name: str, pattern: str) -> None:
    assert not fits(name, pattern)


def test_names() -> None:
    assert [last_name(path) for path in ("a", "d/a", "d/a/", "d/.", ".", "/")] == [
        *("a", "a", "a", "", "", "")
    ]
    assert has_magic("a[")
    assert not has_magic("a\\")
