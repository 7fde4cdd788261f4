"""Which ssh it is, from what real ones say."""

from __future__ import annotations

import pytest

from sshmux.errors import ConfigError
from sshmux.openssh.version import parse


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026\n", (9, 2)),
        ("OpenSSH_10.0p2, OpenSSL 3.5.0 8 Apr 2025", (10, 0)),
        ("OpenSSH_9.9p2, LibreSSL 3.3.6", (9, 9)),
        ("OpenSSH_8.0p1, OpenSSL 1.1.1k  FIPS 25 Mar 2021", (8, 0)),
        ("OpenSSH_7.4p1, OpenSSL 1.0.2k-fips  26 Jan 2017", (7, 4)),
        ("OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2", (9, 5)),
    ],
)
def test_openssh(text: str, version: tuple[int, int]) -> None:
    assert parse(text) == version


@pytest.mark.parametrize("text", ["Dropbear v2022.83", "plink: Release 0.78", "", "x" * 10_000])
def test_another_make_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not OpenSSH") as caught:
        parse(text)
    assert "ssh_program=" in str(caught.value)
    assert len(str(caught.value)) < 200
