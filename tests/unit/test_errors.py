"""The exception tree: as drawn, and fit to be copied, pickled and caught as users know it."""

from __future__ import annotations

import asyncio
import copy
import errno
import pickle
import re

import pytest

from sshmux import errors


def drawn() -> dict[str, set[str]]:
    """The tree of the docstring: each name and its bases."""
    assert errors.__doc__
    bases: dict[str, set[str]] = {"Error": {"Exception"}}
    above = {0: "Error"}
    pattern = re.compile(r"^ {4}((?:│   |    )*)[├└]── (\w+)(?: \(([\w.]+)\))?(.*)$")
    for line in errors.__doc__.splitlines():
        if found := pattern.match(line):
            depth = len(found.group(1)) // 4 + 1
            name, base, rest = found.group(2), found.group(3), found.group(4)
            bases[name] = {above[depth - 1]}
            if base:
                bases[name].add(base.removeprefix("asyncio."))
            if also := re.search(r"\(also an? (\w+)\)", rest):
                bases[name].add(also.group(1))
            above[depth] = name
    return bases


TREE = drawn()
CLASSES = [getattr(errors, name) for name in TREE]


def test_the_drawing_is_complete() -> None:
    assert set(TREE) == set(errors.__all__)
    assert len(TREE) > 20


@pytest.mark.parametrize("name", TREE)
def test_bases_are_those_drawn(name: str) -> None:
    kind = getattr(errors, name)
    actual = {base.__name__ for base in kind.__bases__}
    assert actual == TREE[name]
    if name == "TimeoutError":
        assert asyncio.TimeoutError in kind.__bases__


def test_what_the_seed_catches() -> None:
    assert issubclass(errors.ConfigError, ValueError)
    for kind in (errors.AcquireTimeout, errors.ConnectTimeout, errors.ProcessTimeout):
        assert issubclass(kind, asyncio.TimeoutError)
        assert issubclass(kind, errors.Error)
    for kind in (errors.ConnectionRefused, errors.HostNotFound, errors.HostUnreachable):
        assert issubclass(kind, OSError)
    assert issubclass(errors.ConnectionRefused, ConnectionRefusedError)
    assert not issubclass(errors.PermissionDenied, OSError)
    assert not issubclass(errors.ConnectionLost, asyncio.TimeoutError)


def test_refused_and_unreachable_tell_their_errno() -> None:
    assert errors.ConnectionRefused("no").errno == errno.ECONNREFUSED
    assert errors.HostUnreachable("no").errno == errno.EHOSTUNREACH


TRANSIENT = {"ConnectTimeout", "HostUnreachable", "ConnectionRefused", "ServerHungUp"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_only_trouble_that_passes_is_transient(kind: type[errors.Error]) -> None:
    assert kind.transient is (kind.__name__ in TRANSIENT)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("duplicate", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_keep_words_and_attributes(kind: type[errors.Error], duplicate: object) -> None:
    error = kind("what happened; what to do")
    error.transient = not kind.transient
    error.stderr = "ssh's words"  # type: ignore[attr-defined]
    error.exit_status = 3  # type: ignore[attr-defined]
    fresh_copy = duplicate(error)  # type: ignore[operator]
    assert type(fresh_copy) is kind
    assert fresh_copy is not error
    assert str(fresh_copy) == fresh_copy.reason == "what happened; what to do"
    assert fresh_copy.transient is error.transient
    assert fresh_copy.stderr == "ssh's words"
    assert fresh_copy.exit_status == 3
    assert fresh_copy.__traceback__ is None
    if isinstance(error, OSError):
        assert fresh_copy.errno == error.errno


def test_again_copies_ours_and_leaves_others_alone() -> None:
    ours = errors.ConnectionLost("gone")
    ours.started = True
    copied = errors.fresh_copy(ours)
    assert copied is not ours
    assert copied.started is True
    other = KeyError("x")
    assert errors.fresh_copy(other) is other


def test_a_copy_raised_elsewhere_does_not_lengthen_the_first_ones_traceback() -> None:
    first = errors.PermissionDenied("no")
    with pytest.raises(errors.PermissionDenied):
        raise errors.fresh_copy(first)
    assert first.__traceback__ is None
