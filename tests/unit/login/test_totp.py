"""One-time codes: the right ones, and each once."""

from __future__ import annotations

import asyncio
import time

import pytest

from sshmux.errors import ConfigError
from sshmux.login import totp
from sshmux.login.totp import OneTimeCodes, check_totp_secret, generator
from sshmux.system.secret import Secret

RFC = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B: "12345678901234567890"


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")]
)
def test_the_codes_of_rfc_6238(at: int, code: str) -> None:
    assert generator(Secret(RFC)).at(at) == code
    assert generator(Secret(f"otpauth://totp/hpc:ada?secret={RFC}&issuer=hpc")).at(at) == code


def test_a_short_secret_makes_the_same_codes_padded() -> None:
    # 80 bits, as many sites gave out; computed with `oathtool --totp -b JBSWY3DPEHPK3PXP -N @59`.
    assert generator(Secret("JBSWY3DPEHPK3PXP")).at(59) == generator(
        Secret("JBSWY3DPEHPK3PXPAAAAAAAA")
    ).at(59)
    assert generator(Secret("JBSWY3DPEHPK3PXP")).at(59) == "996554"


def test_eight_digits_and_another_interval() -> None:
    uri = f"otpauth://totp/x:y?secret={RFC}&issuer=x&digits=8&period=60"
    made = generator(Secret(uri))
    assert (made.interval, len(made.at(59))) == (60, 8)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", RFC),
        (f" {RFC}\n", RFC),
        ("GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ", RFC),
        (f"otpauth://totp/x:y?secret={RFC}&issuer=x",) * 2,
    ],
)
def test_how_a_secret_is_kept(given: str, kept: str) -> None:
    assert check_totp_secret(Secret(given)).reveal() == kept


@pytest.mark.parametrize(
    "bad",
    ["", "0189", "s3cret words", "otpauth://totp/x", f"otpauth://hotp/x:y?secret={RFC}&counter=1"],
)
def test_what_is_no_secret_is_not_shown(bad: str) -> None:
    with pytest.raises(ConfigError, match="base32") as caught:
        check_totp_secret(Secret(bad))
    assert not bad or bad not in str(caught.value)
    assert caught.value.__context__ is None or bad not in str(caught.value.__context__)


async def test_a_code_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = [1000.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(totp.asyncio, "sleep", sleep)
    codes = OneTimeCodes()
    made = generator(Secret(RFC))
    given = [(await codes.next_code(Secret(RFC))).reveal() for _ in range(3)]
    assert given == [made.at(1000), made.at(1020), made.at(1050)]
    assert slept == [pytest.approx(20), pytest.approx(30)]
    # Another secret has codes of its own; and time that passes by itself is no wait.
    clock[0] += 300
    await codes.next_code(Secret(RFC))
    assert len(slept) == 2


async def test_two_at_once_get_two_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        await real(0)
        clock[0] += seconds

    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(totp.asyncio, "sleep", sleep)
    codes = OneTimeCodes()
    given = await asyncio.gather(*(codes.next_code(Secret(RFC)) for _ in range(4)))
    assert len({code.reveal() for code in given}) == 4


async def test_a_clock_that_is_set_back_keeps_nobody_waiting_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log-in's deadline stands still meanwhile: nothing else would end the wait."""
    clock, slept = [100_000.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(totp.asyncio, "sleep", sleep)
    codes = OneTimeCodes()
    await codes.next_code(Secret(RFC))
    clock[0] -= 3600
    await codes.next_code(Secret(RFC))
    assert sum(slept) <= 60


async def test_cancelled_while_it_waits_it_uses_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    codes, made = OneTimeCodes(), generator(Secret(RFC))
    await codes.next_code(Secret(RFC))
    waiting = asyncio.ensure_future(codes.next_code(Secret(RFC)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait((waiting,))
    monkeypatch.setattr(time, "time", lambda: 1020.0)
    code = await asyncio.wait_for(codes.next_code(Secret(RFC)), 1)
    assert code.reveal() == made.at(1020)


async def test_one_secret_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(totp.asyncio, "sleep", sleep)
    codes = OneTimeCodes()
    for text in (RFC, f"otpauth://totp/x:y?secret={RFC.lower()}&issuer=x"):
        await codes.next_code(Secret(text))
    assert slept == [pytest.approx(20)]


def test_padding_that_a_qr_code_has() -> None:
    """`=` is `%3D` in a URI."""
    short = "GEZDGNBVGY3TQOJQGE"
    plain = generator(Secret(short)).at(59)
    assert generator(Secret(f"{short}======")).at(59) == plain
    assert generator(Secret(f"otpauth://totp/x:y?secret={short}&issuer=x")).at(59) == plain
    assert generator(Secret(f"otpauth://totp/x:y?secret={short}======&issuer=x")).at(59) == plain
    assert (
        generator(Secret(f"otpauth://totp/x:y?secret={short}{'%3D' * 6}&issuer=x")).at(59) == plain
    )


def test_other_digests() -> None:
    # RFC 6238, appendix B, with its 32 and 64 byte secrets.
    for name, length, code in (("SHA256", 32, "46119246"), ("SHA512", 64, "90693936")):
        key = (b"1234567890" * 7)[:length]
        letters = totp.base64.b32encode(key).decode().rstrip("=")
        uri = f"otpauth://totp/x:y?secret={letters}&issuer=x&digits=8&algorithm={name}"
        assert generator(Secret(uri)).at(59) == code


async def test_no_secret_shows_in_the_codes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    codes = OneTimeCodes()
    code = await codes.next_code(Secret(RFC))
    with pytest.raises(ConfigError) as caught:
        await codes.next_code(Secret("s3cret words"))
    shown = f"{codes!r} {vars(codes)} {code} {caplog.text} {caught.value!r}"
    for hidden in (RFC, code.reveal(), "s3cret words"):
        assert hidden not in shown
