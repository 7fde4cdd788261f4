"""A secret that does not show itself."""

from __future__ import annotations

import copy
import pickle

import pytest

from sshmux.system.secret import Secret


def test_nothing_shows_it() -> None:
    secret = Secret("hunter2")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        "{}".format(secret),  # noqa: UP032
        repr([secret]),
    ):
        assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert not hasattr(secret, "__dict__")


def test_it_goes_nowhere() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        copy.deepcopy(Secret("hunter2"))


def test_no_error_shows_it() -> None:
    secret = Secret("hunter2")
    for wrong in (
        lambda: secret + "",  # type: ignore[operator]
        lambda: secret < secret,  # type: ignore[operator]
        lambda: f"{secret:>20}",
        lambda: len(secret),  # type: ignore[arg-type]
        lambda: secret.nothing,  # type: ignore[attr-defined]
        lambda: copy.copy(secret),
        lambda: pickle.dumps(secret),
    ):
        with pytest.raises((TypeError, AttributeError)) as caught:
            wrong()
        assert "hunter2" not in repr(caught.value)


def test_two_of_one_text_are_two() -> None:
    """Each is given once: a set of them must not take one for the other."""
    one, other = Secret("hunter2"), Secret("hunter2")
    assert one != other
    assert len({one, other, one}) == 2
    assert bool(Secret("")) is True
