"""The limit on descriptors, before the system's own."""

from __future__ import annotations

import errno
import resource

import pytest

from sshmux import DescriptorLimit
from sshmux.system.descriptors import check_descriptor, check_errno


@pytest.mark.parametrize(
    ("limit", "fine", "too_many"),
    [(1024, 959, 960), (256, 223, 224), (64, 55, 56), (20_000, 19_935, 19_936)],
)
def test_some_are_left_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, limit: int, fine: int, too_many: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    check_descriptor(fine)
    with pytest.raises(DescriptorLimit, match=f"all the {limit} descriptors") as caught:
        check_descriptor(too_many)
    assert caught.value.errno == errno.EMFILE
    assert isinstance(caught.value, OSError)


def test_no_limit_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (unlimited, unlimited))
    check_descriptor(10_000_000)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS])
def test_the_systems_own_word_is_ours_as_well(number: int) -> None:
    with pytest.raises(DescriptorLimit, match="ulimit -n"):
        check_errno(OSError(number, "Too many"))


def test_other_errors_are_somebody_elses() -> None:
    check_errno(OSError(errno.ENOENT, "No such file"))
