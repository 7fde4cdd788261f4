"""What ssh asks, and who asks. The texts are OpenSSH 9.2's own, as they came on a terminal."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.openssh.askpass import prompts
from sshmux.openssh.askpass.prompts import Prompt, classify, expected_who, sanitise

from ..captured import CAPTURES, Capture

HOST_KEY = (
    "The authenticity of host '[127.0.0.1]:37313 ([127.0.0.1]:37313)' can't be established.\r\n"
    "ED25519 key fingerprint is SHA256:ohtuZWx+j+I4bDJ5v1gQXuw5MrU45JLgaYOFehbTCBY.\r\n"
    "This key is not known by any other names.\r\n"
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
)
EXPIRED = (
    "(ada@hpc) You are required to change your password immediately (administrator enforced).\r\n"
    "Changing password for ada.\r\nCurrent password: "
)
DUO = (
    "(ada@hpc) Duo two-factor login for ada\r\n\r\nEnter a passcode or select one of the following "
    "options:\r\n\r\n 1. Duo Push to XXX-XXX-1234\r\n 2. Phone call to XXX-XXX-1234\r\n"
    " 3. SMS passcodes to XXX-XXX-1234\r\n\r\nPasscode or option (1-3): "
)
# What came on the terminal → its kind, and who asks.
CAPTURED = [
    ("ada@hpc's password: ", prompts.PasswordPrompt, "ada@hpc"),
    ("\r\nada@hpc's password: ", prompts.PasswordPrompt, "ada@hpc"),  # after a wrong one
    ("ada@uni.example@hpc's password: ", prompts.PasswordPrompt, "ada@uni.example@hpc"),
    ("(ada@hpc) Password: ", prompts.InteractivePasswordPrompt, "ada@hpc"),
    ("(ada@hpc) password:", prompts.InteractivePasswordPrompt, "ada@hpc"),
    ("(ada@hpc) Welcome.\r\nPassword: ", prompts.InteractivePasswordPrompt, "ada@hpc"),
    (EXPIRED, prompts.NewPasswordPrompt, "ada@hpc"),
    ("(ada@hpc) New password: ", prompts.NewPasswordPrompt, "ada@hpc"),
    ("(ada@hpc) Retype new password: ", prompts.NewPasswordPrompt, "ada@hpc"),
    ("Enter ada@hpc's old password: ", prompts.NewPasswordPrompt, "ada@hpc"),
    ("Enter ada@hpc's new password: ", prompts.NewPasswordPrompt, "ada@hpc"),
    ("Retype ada@hpc's new password: ", prompts.NewPasswordPrompt, "ada@hpc"),
    ("Enter passphrase for key '/home/ada/.ssh/id_rsa': ", prompts.PassphrasePrompt, ""),
    ("Enter passphrase for key '/home/ada/my keys/a'b': ", prompts.PassphrasePrompt, ""),
    ("Enter PIN for ED25519-SK key /home/ada/.ssh/id: ", prompts.SecurityKeyPinPrompt, ""),
    ("Enter PIN for ECDSA-SK-CERT key /home/ada/.ssh/id: ", prompts.SecurityKeyPinPrompt, ""),
    ("Enter PIN for 'cluster': ", prompts.TokenPinPrompt, ""),
    (HOST_KEY, prompts.HostKeyPrompt, ""),
    ("Please type 'yes', 'no' or the fingerprint: ", prompts.HostKeyPrompt, ""),
    ("Confirm user presence for key ED25519-SK SHA256:k2Y0yP\r\n", prompts.TouchPrompt, ""),
    ("(ada@hpc) Verification code: ", prompts.OneTimePrompt, "ada@hpc"),
    ("(ada@hpc) One-time password (OATH) for `ada': ", prompts.OneTimePrompt, "ada@hpc"),
    ("(ada@hpc) Enter PASSCODE: ", prompts.OneTimePrompt, "ada@hpc"),
    ("(ada@hpc) First Factor is right.\r\nOTP: ", prompts.OneTimePrompt, "ada@hpc"),
    (DUO, prompts.MenuPrompt, "ada@hpc"),
    ("(ada@hpc) Enter your new PIN: ", prompts.InteractivePrompt, "ada@hpc"),
    ("(ada@hpc) Shoe size? ", prompts.InteractivePrompt, "ada@hpc"),
    ("(ada@hpc) ", prompts.InteractivePrompt, "ada@hpc"),
    ("Password: ", prompts.UnknownPrompt, ""),
    ("$ ", prompts.UnknownPrompt, ""),
]
FORGERIES = [
    "ada@hpc's password: ",
    "(ada@hpc) Password: ",
    "Enter passphrase for key '/home/ada/.ssh/id_rsa': ",
    "Enter PIN for ED25519-SK key /home/ada/.ssh/id: ",
    "Enter PIN for 'cluster': ",
    HOST_KEY,
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
    "Please type 'yes', 'no' or the fingerprint: ",
    "Confirm user presence for key ED25519-SK SHA256:k2Y0yP\r\n",
]


@pytest.mark.parametrize(("text", "kind", "who"), CAPTURED)
def test_kinds(text: str, kind: type[Prompt], who: str) -> None:
    prompt = classify(text)
    assert (type(prompt), prompt.who) == (kind, who)
    assert "\r" not in prompt.text


# The captures, by the beginning of their names; the longest that fits counts.
KINDS_OF_CAPTURES = {
    "password": prompts.PasswordPrompt,
    "password change: the": prompts.NewPasswordPrompt,
    "password change: user": prompts.NewPasswordPrompt,
    "kbdint: PAM Password": prompts.InteractivePasswordPrompt,
    "kbdint: two questions": prompts.InteractivePasswordPrompt,
    "kbdint: two questions, the second": prompts.OneTimePrompt,
    "kbdint: echo on": prompts.OneTimePrompt,
    "kbdint: echo on and then": prompts.InteractivePasswordPrompt,
    "kbdint: Duo": prompts.MenuPrompt,
    "kbdint: name and": prompts.OneTimePrompt,
    "kbdint: a code again": prompts.OneTimePrompt,
    "kbdint: control characters": prompts.UnknownPrompt,
    "kbdint: a carriage return": prompts.UnknownPrompt,
    "kbdint: UTF-8": prompts.UnknownPrompt,  # it has marks that turn the direction
    "kbdint: UTF-8 and": prompts.InteractivePrompt,  # where the locale has none, they are digits
    "kbdint: empty": prompts.InteractivePrompt,
    "kbdint: question ends": prompts.InteractivePrompt,
    "kbdint: a question that forges": prompts.InteractivePrompt,
    "kbdint: a prompt of": prompts.InteractivePrompt,
    "passphrase": prompts.PassphrasePrompt,
    "host key": prompts.HostKeyPrompt,
    "PAM": prompts.InteractivePasswordPrompt,
    "PAM expired: the current": prompts.NewPasswordPrompt,
    "PAM expired: the new": prompts.NewPasswordPrompt,
    "PAM expired: after a bad": prompts.NewPasswordPrompt,
    "PAM expired: after the same": prompts.NewPasswordPrompt,
    "FIDO: touch": prompts.TouchPrompt,
    "FIDO: PIN": prompts.SecurityKeyPinPrompt,
    "FIDO: touch and PIN": prompts.SecurityKeyPinPrompt,
    "PKCS#11": prompts.TokenPinPrompt,
    "ProxyJump": prompts.PasswordPrompt,
    "ProxyJump: then the target's keyboard": prompts.InteractivePasswordPrompt,
    "ProxyJump: the jump host's key": prompts.HostKeyPrompt,
    "ProxyJump: the target's key": prompts.HostKeyPrompt,
}


@pytest.mark.parametrize(
    "capture", CAPTURES, ids=[f"{each.version} {each.name}" for each in CAPTURES]
)
def test_what_real_servers_made_ssh_write(capture: Capture) -> None:
    text = capture.terminal
    if not text.strip():
        return  # the newline after a hidden answer, or nothing at all
    # The dialogue takes away what it typed into an echo, and expects.
    text = re.sub(r"^(yes|no|maybe|bob|123456|SHA256:\S+)\r\n", "", text)
    if not text.strip():
        return
    name = max(filter(capture.name.startswith, KINDS_OF_CAPTURES), key=len)
    prompt = classify(text, echo=capture.echo)
    assert type(prompt) is KINDS_OF_CAPTURES[name]
    if isinstance(prompt, prompts.HostKeyPrompt) and "Please type" not in text:
        assert prompt.fingerprint.startswith(("SHA256:", "MD5:"))
        assert prompt.key_of
    if prompt.hidden:
        assert capture.echo is False
    if prompt.who:
        assert "@" in prompt.who
        assert prompt.who in text


def test_every_kind_has_a_word_and_is_met_here() -> None:
    met = {kind for _, kind, _ in CAPTURED}
    assert met == {*prompts.KINDS, prompts.UnknownPrompt}
    assert all(kind.kind != "unknown" for kind in prompts.KINDS)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("before", ["x\r\n", "\r\n", "\n\n", "", "Password: \r\n", "x\r\r\n"])
def test_what_begins_with_a_name_is_that_hosts_question(forgery: str, before: str) -> None:
    prompt = classify(f"(eve@jump) {before}{forgery}")
    assert prompt.who in ("eve@jump", "")
    assert prompt.who == "eve@jump" or isinstance(prompt, prompts.UnknownPrompt)
    assert prompt.kind in ("interactive", "password", "one-time", "new-password", "unknown")
    assert not isinstance(prompt, prompts.InteractivePasswordPrompt)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("noise", ["x\r\n", "x ", "ada@hpc's password: \r\n", "\x1b[2K\r", "\x08"])
def test_a_prompt_is_all_of_the_text_or_none(noise: str, forgery: str) -> None:
    assert isinstance(classify(noise + forgery), prompts.UnknownPrompt)


@pytest.mark.parametrize(
    "mark", ["\x1b[2K", "\x00", "\x08", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "x\ry"]
)
@pytest.mark.parametrize("text", ["{}ada@hpc's password: ", "(ada@hpc) {}Password: "])
def test_control_characters_make_it_unknown(text: str, mark: str) -> None:
    prompt = classify(text.replace("{}", mark))
    assert isinstance(prompt, prompts.UnknownPrompt)
    assert mark not in prompt.text or mark == "x\ry"


def test_an_old_ssh_does_not_name_who_asks() -> None:
    for text, kind in (
        ("Password: ", prompts.InteractivePasswordPrompt),
        ("Verification code: ", prompts.OneTimePrompt),
        ("Passcode or option (1-3): ", prompts.MenuPrompt),
        ("Shoe size? ", prompts.InteractivePrompt),
        ("ada@hpc's password: ", prompts.PasswordPrompt),
    ):
        prompt = classify(text, named=False)
        assert (type(prompt), prompt.text) == (kind, text)
        assert prompt.who == ("ada@hpc" if kind is prompts.PasswordPrompt else "")


def test_what_is_known_of_a_host_key() -> None:
    prompt = classify(HOST_KEY, echo=True)
    assert isinstance(prompt, prompts.HostKeyPrompt)
    assert prompt.fingerprint == "SHA256:ohtuZWx+j+I4bDJ5v1gQXuw5MrU45JLgaYOFehbTCBY"
    assert prompt.key_of == "[127.0.0.1]:37313"
    assert prompt.echo is True
    bare = classify("Please type 'yes', 'no' or the fingerprint: ")
    assert isinstance(bare, prompts.HostKeyPrompt)
    assert (bare.fingerprint, bare.key_of) == ("", "")


def test_what_a_menu_offers() -> None:
    prompt = classify(DUO)
    assert isinstance(prompt, prompts.MenuPrompt)
    assert prompt.options == {
        "1": "Duo Push to XXX-XXX-1234",
        "2": "Phone call to XXX-XXX-1234",
        "3": "SMS passcodes to XXX-XXX-1234",
    }


def test_which_key_has_a_passphrase() -> None:
    for path in ("/home/ada/.ssh/id_rsa", "/home/ada/my keys/a'b", "/k: "):
        prompt = classify(f"Enter passphrase for key '{path}': ")
        assert isinstance(prompt, prompts.PassphrasePrompt)
        assert prompt.key == path


def test_only_secrets_must_be_hidden_and_only_a_touch_wants_no_answer() -> None:
    hidden = {kind.kind for kind in prompts.KINDS if kind.hidden}
    assert hidden == {"password", "new-password", "passphrase", "fido-pin", "pkcs11-pin"}
    assert [kind.kind for kind in prompts.KINDS if not kind.wants_answer] == ["touch"]


def test_long_names_are_cut_as_ssh_cuts_them() -> None:
    user, host = "u" * 40, "h" * 200
    assert expected_who("ada", "hpc") == {"ada@hpc"}
    assert expected_who(user, host) == {f"{user}@{host}", f"{'u' * 30}@{'h' * 128}"}


def test_sanitise() -> None:
    assert sanitise(" a\x1b[2Jb\x07\r ") == "a[2Jb"
    assert sanitise("x" * 300) == "x" * 199 + "…"
    assert sanitise("one\ntwo") == "one\ntwo"


pieces = [*"()@':?[]/-15 \r\n\t\x1b\u202e", "Password: ", "Enter PIN for ", *FORGERIES]
texts = st.lists(st.sampled_from(pieces), max_size=12).map("".join)


@given(texts)
def test_no_server_can_pass_for_somebody_else(text: str) -> None:
    prompt = classify(f"(eve@jump) {text}")
    assert prompt.who in ("eve@jump", "")
    if not prompt.who:
        assert isinstance(prompt, prompts.UnknownPrompt)


@given(st.one_of(texts, st.text()), st.booleans())
def test_anything_is_some_prompt(text: str, named: bool) -> None:
    prompt = classify(text, named=named)
    assert prompt.text == "" or not set(prompt.text) & set("\x1b\x08\x00\u202e")


@pytest.mark.parametrize(
    "text",
    [
        *["@" * 65536, "(" + "@" * 65536, "(a@b) " + "old " * 16384, "(a@b) " + "(1-" * 20000],
        *["(a@b) " + "code\n" * 13000, "Enter passphrase for " + "'" * 65536, "\r" * 65536],
        *["The authenticity of host '" + "\n" * 65536, "a@b's password: " * 4096, " " * 65536],
        *["(a@b) " + "\n1. x" * 13000 + "(1-2): ", "\n" * 65536, "\u00a0" * 65536],
    ],
    ids=range(13),
)
def test_no_text_keeps_a_pattern_busy(text: str) -> None:
    """Not a timing: without bounds these take seconds to hours."""
    started = time.process_time()
    prompt = classify(text)
    classify(text, named=False)
    if isinstance(prompt, prompts.MenuPrompt):
        assert prompt.options
    assert time.process_time() - started < 2


WHO = st.from_regex(
    r"[^()\s\x00-\x1f\x7f-\x9f]{1,12}@[^()\s\x00-\x1f\x7f-\x9f]{1,12}", fullmatch=True
)


@given(WHO, st.one_of(texts, st.text()))
def test_whoever_begins_a_question_is_who_asks_it(who: str, text: str) -> None:
    prompt = classify(f"({who}) {text}")
    if isinstance(prompt, prompts.UnknownPrompt):
        assert prompt.who == ""
    else:
        assert prompt.who == who
        assert prompt.kind in ("interactive", "password", "one-time", "new-password", "menu")


@given(st.one_of(texts, st.text()))
def test_only_ssh_itself_asks_for_what_is_on_this_machine(text: str) -> None:
    prompt = classify(text)
    if prompt.kind in ("passphrase", "fido-pin", "pkcs11-pin", "touch", "host-key"):
        assert prompt.who == ""
        assert not text.lstrip("\r\n").startswith("(")


# Unicode's Bidi_Control, all of it.
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("mark", BIDI, ids=lambda mark: f"U+{ord(mark):04X}")
def test_nothing_turns_the_writing_direction(mark: str) -> None:
    prompt = classify(f"(ada@hpc) {mark}Password: ")
    assert isinstance(prompt, prompts.UnknownPrompt)
    assert mark not in prompt.text
    assert mark not in sanitise(f"a{mark}b")


@pytest.mark.parametrize("kind", prompts.KINDS)
@pytest.mark.parametrize(
    "text",
    [
        *["@", "a@b", "(", "(a@b) ", "old ", "old password ", "password\n", "(1-", "code ", "pin "],
        *["\n", "\r\n", " ", "'", "': ", "1. x\n", "Password: \n", "old password " * 45 + "\n"],
        "code " * 79 + "\n",
    ],
)
def test_twice_the_text_takes_about_twice_the_time(kind: type[Prompt], text: str) -> None:
    """A pattern whose time grows with the square takes 64 times as long for 8 times the text."""
    before = [
        *["", "(a@b) ", "Enter passphrase for key '", "Enter PIN for A-SK key ", "Enter "],
        *["The authenticity of host '", "Confirm user presence for key "],
    ]

    def login_factor(size: int) -> float:
        whole = [(start + text * (size // len(text)))[:size] + "x" for start in before]
        started = time.process_time()
        for each in whole:
            kind.pattern.fullmatch(each)
        return time.process_time() - started

    small, large = login_factor(8 * 1024), login_factor(64 * 1024)
    assert large < max(0.05, 24 * small)


@pytest.mark.parametrize(
    "question",
    [
        *(
            "Password:",
            "password: ",
            "Password for ada@hpc: ",
            "UNIX password: ",
            "LDAP Password: ",
        ),
        *("Kerberos password for ada@EXAMPLE.ORG: ", "Passwort: "),
        *("Enter your password: ", "Please enter your AD password: ", "Mot de passe : "),
        *(
            "Contraseña: ",
            "Пароль: ",
            "密码\uff1a",
            "パスワード: ",
            "Hasło: ",
            "Password for user ada: ",
        ),
        "Last login: yesterday\nWarning: maintenance\nPassword: ",
    ],
)
def test_questions_for_the_password(question: str) -> None:
    prompt = prompts.classify(f"(ada@hpc) {question}")
    assert prompt.kind == "password", question
    assert prompt.who == "ada@hpc"


@pytest.mark.parametrize(
    "question",
    [
        *("New password: ", "Current password: ", "Old Password: ", "Retype new password: "),
        *("One-time password: ", "Password + token: ", "Your password has expired.\nAnswer: "),
        *("Passwordless code: ", "Verification code: ", "Password or passcode: ", "PIN: "),
    ],
)
def test_what_is_no_question_for_the_password(question: str) -> None:
    assert prompts.classify(f"(ada@hpc) {question}").kind != "password"


def test_a_user_whom_the_locale_cannot_show() -> None:
    assert prompts.unescaped("j\\303\\274rgen@hpc") == "jürgen@hpc"
    assert prompts.unescaped("a\\377b@hpc") == "a\\377b@hpc"
    assert prompts.unescaped("DOMAIN\\ada@hpc") == "DOMAIN\\ada@hpc"
