"""Prompts as ssh really asks them, and as an attacker would like them to be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.openssh.prompts import (
    HostKeyPrompt,
    InteractivePasswordPrompt,
    InteractivePrompt,
    PassphrasePrompt,
    PasswordPrompt,
    Prompt,
    UnknownPrompt,
    classify,
    expected_who,
    sanitise,
    takes_password,
)

US = expected_who("ada", "hpc.example.org")

REAL: list[tuple[str, type[Prompt], str]] = [
    # OpenSSH 9.2 on a pty: it begins with a carriage return
    ("\rada@hpc.example.org's password: ", PasswordPrompt, "ada@hpc.example.org"),
    ("ada@hpc.example.org's password: ", PasswordPrompt, "ada@hpc.example.org"),
    ("\r\nada@hpc.example.org's password: ", PasswordPrompt, "ada@hpc.example.org"),
    ("ada@2001:db8::7's password: ", PasswordPrompt, "ada@2001:db8::7"),
    ("CORP\\ada@hpc's password: ", PasswordPrompt, "CORP\\ada@hpc"),
    ("ada@corp.example@hpc's password: ", PasswordPrompt, "ada@corp.example@hpc"),
    ("\r(ada@hpc.example.org) Password: ", InteractivePasswordPrompt, "ada@hpc.example.org"),
    ("(ada@hpc.example.org) Password:", InteractivePasswordPrompt, "ada@hpc.example.org"),
    ("(ada@hpc.example.org) password: ", InteractivePasswordPrompt, "ada@hpc.example.org"),
    ("(ada@hpc.example.org) Verification code: ", InteractivePrompt, "ada@hpc.example.org"),
    ("(ada@hpc) One-time password (OATH) for `ada': ", InteractivePrompt, "ada@hpc"),
    ("(ada@hpc) Enter PASSCODE: ", InteractivePrompt, "ada@hpc"),
    (
        "(ada@hpc) Duo two-factor login for ada\r\n\r\nEnter a passcode or select one of the "
        "following options:\r\n\r\n 1. Duo Push to XXX-XXX-0123\r\n\r\nPasscode or option (1-1): ",
        InteractivePrompt,
        "ada@hpc",
    ),
    ("Enter passphrase for key '/home/ada/.ssh/id_ed25519': ", PassphrasePrompt, ""),
    ("Enter passphrase for key '/home/ada/my keys/id': ", PassphrasePrompt, ""),
    ("Enter passphrase for /home/ada/.ssh/id_rsa: ", PassphrasePrompt, ""),
    (
        "The authenticity of host 'hpc.example.org (192.0.2.7)' can't be established.\r\n"
        "ED25519 key fingerprint is SHA256:W0cKbXdYhJnO8TyoIh0n6n8Wn0bdW8yYxUQyM5Xq5cA.\r\n"
        "This key is not known by any other names.\r\n"
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
        HostKeyPrompt,
        "",
    ),
    ("Are you sure you want to continue connecting (yes/no)? ", HostKeyPrompt, ""),
    ("Please type 'yes', 'no' or the fingerprint: ", HostKeyPrompt, ""),
    ("Please type 'yes' or 'no': ", UnknownPrompt, ""),
    ("Enter PIN for ED25519-SK key /home/ada/.ssh/id_ed25519_sk: ", UnknownPrompt, ""),
    ("Enter PIN for 'PIV_II (PIV Card Holder pin)': ", UnknownPrompt, ""),
    ("Enter ada@hpc.example.org's old password: ", UnknownPrompt, ""),
    ("Enter ada@hpc.example.org's new password: ", UnknownPrompt, ""),
    ("Retype ada@hpc.example.org's new password: ", UnknownPrompt, ""),
    ("Password: ", UnknownPrompt, ""),
    ("Confirm user presence for key ED25519-SK SHA256:W0cKbXdY", UnknownPrompt, ""),
]


@pytest.mark.parametrize(("text", "kind", "who"), REAL)
def test_real_prompts(text: str, kind: type[Prompt], who: str) -> None:
    prompt = classify(text)
    assert type(prompt) is kind
    assert prompt.who == who


@pytest.mark.parametrize(("text", "kind", "who"), REAL)
def test_only_the_two_password_prompts_of_the_right_host_take_it(
    text: str, kind: type[Prompt], who: str
) -> None:
    wanted = kind in (PasswordPrompt, InteractivePasswordPrompt)
    assert takes_password(classify(text), US) is (wanted and who == "ada@hpc.example.org")


@pytest.mark.parametrize("text", [text for text, _, _ in REAL])
def test_a_prompt_in_pieces_takes_no_password_before_it_is_whole(text: str) -> None:
    for end in range(len(text.rstrip())):
        assert not takes_password(classify(text[:end]), US), text[:end]


# Hostile ones. A jump host, or any server on the way, writes to the same terminal. What ssh
# shows of a keyboard-interactive question was measured on 9.2: it escapes control characters, but
# a newline, a carriage return and a tab in the server's words reach the terminal.

FORGED = [
    # the jump host's words after "(ada@jump) ", as they arrive on the terminal
    "\r(ada@jump) Code:\r\n(ada@hpc.example.org) Password: ",
    "\r(ada@jump) Code:\r(ada@hpc.example.org) Password: ",
    "\r(ada@jump) Code:\r\r\nada@hpc.example.org's password: ",
    "\r(ada@jump) \r(ada@hpc.example.org) Password: ",
    "\r(ada@jump) \r\n\r\n\r\nada@hpc.example.org's password: ",
    "\r(ada@jump) Code:\t(ada@hpc.example.org) Password: ",
    "\r(ada@jump) (ada@hpc.example.org) Password: ",
    "\r(ada@jump) ada@hpc.example.org's password: ",
    "\r(ada@jump) \\033[2K(ada@hpc.example.org) Password: ",
    # an ssh that escapes nothing
    "(ada@jump) \x1b[2K\x1b[1G(ada@hpc.example.org) Password: ",
    "(ada@jump) \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08(ada@hpc.example.org) Password: ",
    "(ada@jump) Code:\x0b(ada@hpc.example.org) Password: ",
    "(ada@jump) Code:\x0c(ada@hpc.example.org) Password: ",
    "(ada@jump) Code:\x85(ada@hpc.example.org) Password: ",
    "(ada@jump) Code:\u2028(ada@hpc.example.org) Password: ",
    "\x00ada@hpc.example.org's password: ",
    "\x1b[0mada@hpc.example.org's password: ",
    "ada@hpc.example.org\x7f's password: ",
    # somebody else asks
    "(ada@jump.example.org) Password: ",
    "ada@jump.example.org's password: ",
    "(eve@hpc.example.org) Password: ",
    "eve@hpc.example.org's password: ",
    "ada@hpc.example.org.evil.example's password: ",
    "x-ada@hpc.example.org's password: ",
    "ADA@hpc.example.org's password: ",
    # nearly right
    "ada@hpc.example.org's password:",
    "ada@hpc.example.org's password:  ",
    "ada@hpc.example.org's password: x",
    "ada@hpc.example.org's Password: ",
    "Banner: ada@hpc.example.org's password: ",
    "(ada@hpc.example.org) Password for bank: ",
    "(ada@hpc.example.org) New password: ",
    "(ada@hpc.example.org)Password: ",
    "((ada@hpc.example.org) Password: ",
    "(ada@hpc.example.org) Password: \n",
    "ada@hpc.example.org's password: \r\n",
]


@pytest.mark.parametrize("text", FORGED)
def test_nothing_forged_takes_the_password(text: str) -> None:
    assert not takes_password(classify(text), US)


@given(st.text(max_size=60), st.sampled_from(["ada@hpc.example.org's password: ", "ada@x: "]))
def test_no_words_of_a_jump_host_turn_its_question_into_ours(words: str, end: str) -> None:
    assert not takes_password(classify(f"\r(ada@jump) {words}{end}"), US)
    assert not takes_password(classify(f"\r(ada@jump) {words}(ada@hpc.example.org) Password: "), US)


@given(st.text())
def test_any_text_has_a_prompt_fit_to_be_shown(text: str) -> None:
    prompt = classify(text)
    assert isinstance(prompt, Prompt)
    if isinstance(prompt, UnknownPrompt):
        assert prompt.text == sanitise(prompt.text)


@pytest.mark.parametrize(
    "text",
    [
        "(ada@jump) \x1b[2Kcode: ",
        "(ada@jump) code\x07: ",
        "Enter passphrase for key '/home/ada/\x1b[1mid': ",
        "\x9bada@hpc.example.org's password: ",
    ],
)
def test_control_characters_make_any_prompt_unknown(text: str) -> None:
    prompt = classify(text)
    assert type(prompt) is UnknownPrompt
    assert prompt.text.isprintable()


# Whom ssh names


def test_the_password_method_cuts_long_names_and_the_other_one_does_not() -> None:
    user, host = "u" * 40, "h" * 140
    who = expected_who(user, host)
    assert takes_password(classify(f"{user[:30]}@{host[:128]}'s password: "), who)
    assert takes_password(classify(f"({user}@{host}) Password: "), who)
    assert not takes_password(classify(f"{user[:31]}@{host}'s password: "), who)
    assert not takes_password(classify(f"{user[:30]}@{host[:127]}'s password: "), who)


def test_names_within_the_limits_have_one_form() -> None:
    assert expected_who("u" * 30, "h" * 128) == {"u" * 30 + "@" + "h" * 128}
    assert len(expected_who("u" * 31, "h")) == 2


def test_a_passphrase_prompt_that_names_us_takes_no_password() -> None:
    text = "Enter passphrase for key 'ada@hpc.example.org's password: ': "
    assert not takes_password(classify(text), US)


# Words of strangers


@given(st.text(max_size=400), st.integers(1, 300))
def test_sanitised_text_is_short_and_has_no_control_characters(text: str, limit: int) -> None:
    clean = sanitise(text, limit)
    assert len(clean) <= limit
    assert not any(ord(c) < 32 and c not in "\t\n" for c in clean)
    assert "\x7f" not in clean
    assert "\x9b" not in clean  # CSI in one character


def test_sanitise_keeps_plain_words() -> None:
    assert sanitise("  Grüße, 日本!\r\n") == "Grüße, 日本!"
    assert sanitise("\x1b[31mred\x1b[0m") == "[31mred[0m"
    assert sanitise("abcdef", 4) == "abc…"
