"""`exclude=` and `include=`: held against a plain reading of the rule, and against real finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sshmux
from sshmux.system.selection import Pattern, Selection
from sshmux.transfer import finding

FINDS = [find for find in (["find"], ["busybox", "find"]) if shutil.which(find[0])]
names = st.sampled_from(
    ["a", "b", "ab", "a.o", ".a", "-a", "a b", "a\nb", "+", "a^", "]", "\\", "ü", "a\udcff", "*"]
)
pieces = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "*",
        "?",
        "[ab]",
        "[!a]",
        "-",
        "\n",
        "\\\\",
        "\\*",
        "[]^-]",
        "\udcff",
        "+",
        "**",
    ]
)
pattern_names = st.one_of(names.filter(lambda name: "\\" not in name), st.just("**"))
pattern_names |= st.lists(pieces, min_size=1, max_size=3).map("".join)
patterns = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/"]),
    st.lists(pattern_names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)
trees = st.lists(st.lists(names, min_size=1, max_size=4), max_size=8)


def fits(path: list[str], pattern: str, *, directory: bool) -> bool:
    """The rule, as plainly as it can be said."""
    if pattern.endswith("/") and not directory:
        return False
    parts = pattern.strip("/").split("/")
    if pattern.startswith("/"):
        return _fits(path, parts)
    return any(_fits(path[start:], parts) for start in range(len(path)))


def _fits(path: list[str], parts: list[str]) -> bool:
    if not parts:
        return not path
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(path)
        return any(_fits(path[start:], parts[1:]) for start in range(len(path) + 1))
    return bool(path) and name_fits(path[0], parts[0]) and _fits(path[1:], parts[1:])


def name_fits(name: str, pattern: str) -> bool:
    one, other = (os.fsencode(text).decode("latin-1") for text in (name, pattern))
    other = other.replace("[]^-]", "\0").replace("\\\\", "\1").replace("\\*", "[*]")
    # (fnmatch has no escapes, and its sets may hold a slash: no name does)
    return fnmatchcase(one, other.replace("\0", "[]^-]").replace("\1", "[\\]"))


def taken(path: list[str], exclude: list[str], include: list[str], *, directory: bool) -> bool:
    def any_fits(patterns: list[str]) -> bool:
        return any(
            fits(path[:end], pattern, directory=directory or end < len(path))
            for pattern in patterns
            for end in range(1, len(path) + 1)
        )

    return not any_fits(exclude) and (directory or not include or any_fits(include))


def selected(exclude: list[str], include: list[str]) -> Selection:
    return Selection.of(exclude, include) or Selection()


some = st.lists(patterns, max_size=2)


@given(st.lists(names, min_size=1, max_size=4), some, some, st.booleans())
@example(["a", "b"], ["a/*"], [], True)
@example(["a"], ["a/*"], [], True)
@example(["a"], ["a/**"], [], True)
def test_the_rule(path: list[str], exclude: list[str], include: list[str], directory: bool) -> None:
    found = selected(exclude, include).takes(os.fsencode("/".join(path)), directory=directory)
    assert found == taken(path, exclude, include, directory=directory)


@given(st.lists(names, min_size=2, max_size=4), some, some, st.booleans())
def test_below_a_directory(
    path: list[str], exclude: list[str], include: list[str], directory: bool
) -> None:
    """The same for what is in it, unless it is excluded itself."""
    selection = selected(exclude, include)
    if not selection.takes(os.fsencode(path[0]), directory=True):
        return
    below = selection.below(os.fsencode(path[0])) or Selection()
    whole, rest = (os.fsencode("/".join(some)) for some in (path, path[1:]))
    assert below.takes(rest, directory=directory) == selection.takes(whole, directory=directory)


@pytest.mark.parametrize("find", FINDS, ids=" ".join)
@given(trees, some, some)
@settings(max_examples=60, deadline=None)
def test_real_finds(
    find: list[str], tree: list[list[str]], exclude: list[str], include: list[str]
) -> None:
    selection = selected(exclude, include)
    with tempfile.TemporaryDirectory() as directory:
        plant(Path(directory), tree)
        everything = {path.relative_to(directory) for path in Path(directory).rglob("*")}
        wanted = {
            path
            for path in everything
            if selection.takes(os.fsencode(path), directory=(directory / path).is_dir())
        }
        assert ran(find, directory, finding.chosen(selection)) == wanted
        if selection != Selection():
            foreign = ran(find, directory, finding.foreign(selection))
            assert foreign <= everything - wanted
            assert bool(foreign) == bool(everything - wanted)


def plant(top: Path, tree: list[list[str]]) -> None:
    """Files at those paths, as far as nothing is in the way."""
    for path in tree:
        try:
            (top / "/".join(path)).parent.mkdir(parents=True, exist_ok=True)
            (top / "/".join(path)).write_text("/".join(path), errors="surrogateescape")
        except OSError:
            continue


def ran(find: list[str], directory: str, words: list[str]) -> set[Path]:
    done = subprocess.run(
        [*find, ".", *words, "-print0"],
        cwd=directory,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    return {Path(os.fsdecode(name)) for name in done.stdout.split(b"\0")[:-1]} - {Path()}


@pytest.mark.parametrize(
    "wrong",
    ["", "/", "//", "a//b", "./a", "a/..", "a\0", "a\\", "[[:alhpa:]]", "[b-a]", "x" * 20_000],
)
def test_what_is_no_pattern(wrong: str) -> None:
    for how in ((wrong, ()), ((), ["a", wrong])):
        with pytest.raises(sshmux.ConfigError, match="pattern"):
            Selection.of(*how)


@pytest.mark.parametrize("wrong", [None, 5, [5], {"a": 1}, {"a"}, object()])
def test_what_are_no_patterns(wrong: Any) -> None:
    with pytest.raises(sshmux.ConfigError, match="exclude"):
        Selection.of(wrong, ())


def test_no_name_takes_for_ever() -> None:
    """A server chooses names, and must not hang what matches them."""
    pattern = Pattern.parse("*a" * 40 + "*b")
    assert Selection((pattern,)).takes(b"/".join([b"a" * 255] * 64), directory=False)


def test_nothing_chosen_is_everything() -> None:
    assert Selection.of((), []) is None
