"""A secret that does not show itself."""

from __future__ import annotations

import copy
import pickle

import pytest

from sshmux.secret import Secret


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
