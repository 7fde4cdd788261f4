"""Which addresses are meant, and that a port is free on all of them."""

from __future__ import annotations

import errno
import socket

import pytest

from sshmux import ChannelListenError
from sshmux.forwards.addresses import addresses, bound, free_port, why_not


async def test_what_hosts_mean() -> None:
    assert await addresses("localhost") == ["127.0.0.1", "::1"]
    assert await addresses("*") == ["0.0.0.0", "::"]
    for one in ("127.0.0.1", "::1"):
        assert await addresses(one) == [one]
    assert set(await addresses(socket.gethostname())) <= {
        str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None)
    }
    for none in ("no.such.host.invalid", "x" * 300, "ü" * 70 + "."):
        with pytest.raises(ChannelListenError, match="cannot listen on"):
            await addresses(none)


async def test_an_address_that_is_not_here_is_left_out_but_for_the_last() -> None:
    assert await addresses("192.0.2.1") == ["192.0.2.1"]  # so that it is the error
    error = why_not("192.0.2.1", 0)
    assert error is not None
    assert error.errno == errno.EADDRNOTAVAIL


def test_a_port_that_is_free_on_all() -> None:
    found = free_port(["127.0.0.1", "::1"])
    assert why_not("127.0.0.1", found) is why_not("::1", found) is None


def test_a_port_that_is_free_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound("127.0.0.1", 0) as one:
        one.listen()
        port = one.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound("127.0.0.1", port)
        bound("::1", port).close()
