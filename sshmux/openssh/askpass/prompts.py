"""What ssh asks on its terminal, and who asks. Pure.

A prompt is recognised by its exact form only, and as the whole text since the last answer: a
server chooses the words of a keyboard-interactive question, line breaks included, so the last
line of one host's question can read like a prompt of another host, or of ssh itself. What no
server can forge is how the text begins: since 8.5 ssh puts `(user@host) ` before every such
question (sshconnect2.c: input_userauth_info_req), and its own prompts begin with its own words.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

# Since OpenSSH 8.5 a keyboard-interactive question begins with `(user@host) `, which the server
# cannot forge. Before, a server could ask exactly as ssh itself, or another host, does.
NAMES_WHO_ASKS = (8, 5)

# Bounded, all of them: a stranger's text must not make a pattern run for long.
_USER_AT_HOST = r"[^()\s]{1,255}@[^()\s]{1,255}"
_WHO = rf"\((?P<who>{_USER_AT_HOST})\) "
_LINE = r"[^\n]{0,200}"  # of a question


@dataclass(frozen=True)
class Prompt:
    """A question on ssh's terminal.

    Attributes:
        kind: what is asked for, as a word; see the classes.
        text: the question as ssh shows it, without control characters.
        who: `user@host` of whoever asks, where ssh says so. A server cannot forge it.
        echo: whether a user may see what is typed (a menu), or not (a secret).
        attempt: 1, and one more each time that the same is asked again in one log-in.
        deadline: until when an answer is waited for, in seconds since the epoch.
        cluster_id: whose log-in it is; None for a jump host's.
        host: where that log-in leads, as it was registered.
    """

    text: str
    who: str = ""
    echo: bool = False
    attempt: int = 1
    deadline: float | None = None
    cluster_id: Hashable = None
    host: str = ""

    kind: ClassVar[str] = "unknown"
    pattern: ClassVar[re.Pattern[str]]
    hidden: ClassVar[bool] = True  # what is asked for is a secret: never given to an echo
    complete: ClassVar[bool] = True  # the pattern's end cannot be the middle of a longer text
    wants_answer: ClassVar[bool] = True


class PasswordPrompt(Prompt):
    """The `password` method: `user@host's password: `."""

    kind = "password"
    pattern = re.compile(rf"(?P<who>{_USER_AT_HOST})'s password: \Z")


# What servers call a password when they ask for it, and what may stand around the word. Not a new
# one, and not a password that is used once.
_WORDS = (
    *("password", "passwort", "kennwort", "mot de passe", "contraseña", "clave", "senha"),
    *("palavra-passe", "wachtwoord", "lösenord", "adgangskode", "passord", "salasana", "hasło"),
    *("heslo", "jelszó", "parolă", "parola", "şifre", "пароль", "κωδικός", "密码", "密碼"),
    *("パスワード", "암호", "비밀번호"),
)
_BEFORE = (
    *("unix", "ldap", "kerberos", "krb5", "ad", "active directory", "windows", "domain", "account"),
    *(
        "login",
        "local",
        "cluster",
        "sso",
        "lan",
        "network",
        "your",
        "the",
        "user",
        "enter",
        "please",
    ),
)
_QUESTION = (
    rf"(?i:(?:(?:{'|'.join(_BEFORE)})(?: |'s )){{0,5}}(?:{'|'.join(_WORDS)})"
    r"(?: (?:for|für|pour|de|of|para|voor|för|per|dla|для) (?:user |account )?[^\s:]{1,300})?)"
)


def unescaped(who: str) -> str:
    """`user@host` as it is, where ssh has spelled out what its locale cannot show (utf8.c: vis)."""
    found = re.sub(
        r"(?:\\[23][0-7]{2})+",
        lambda match: bytes(int(code, 8) for code in match[0].split("\\")[1:]).decode(
            "utf-8", "replace"
        ),
        who,
    )
    return who if "\ufffd" in found else found


class InteractivePasswordPrompt(Prompt):
    """Keyboard-interactive, asking for the password: `(user@host) Password: `, or in other words.

    Lines before it are what PAM had to say (a message of the day, a warning): sshd puts them
    before the next question (auth-pam.c). The host that says all of it is the one named.
    """

    kind = "password"
    pattern = re.compile(rf"{_WHO}(?:.*\n)?{_QUESTION} ?[:\uff1a] ?\Z", re.DOTALL)


class NewPasswordPrompt(Prompt):
    """The password has expired: the old one, a new one, and the new one again are asked for.

    By ssh itself (`Enter user@host's old password: `, sshconnect2.c), or by PAM. Never answered
    from a keyring.
    """

    kind = "new-password"
    pattern = re.compile(
        rf"(?:(?:Enter|Retype) (?P<who>{_USER_AT_HOST})'s (?:old|new) password: "
        rf"|{_WHO.replace('who', 'asker')}(?s:.*\n)?"
        rf"(?i:{_LINE}\b(?:old|current|new|retype|re-enter)\b{_LINE}password{_LINE}): ?)\Z"
    )


class PassphrasePrompt(Prompt):
    """A private key is encrypted: `Enter passphrase for key 'PATH': `.

    ssh cuts the path at 100 characters (sshconnect2.c: load_identity_file).
    """

    kind = "passphrase"
    pattern = re.compile(r"Enter passphrase for (?:key )?'?(?P<key>[^\n]*?)'?: \Z")

    @property
    def key(self) -> str:
        """The path of the key file."""
        found = self.pattern.fullmatch(self.text)
        return found["key"] if found else ""


class SecurityKeyPinPrompt(Prompt):
    """The PIN of a FIDO key: `Enter PIN for ED25519-SK key PATH: `."""

    kind = "fido-pin"
    pattern = re.compile(r"Enter PIN for [A-Z0-9]+-SK(?:-CERT)? key [^\n]*: \Z")


class TokenPinPrompt(Prompt):
    """The PIN of a smart card or another PKCS#11 token: `Enter PIN for 'LABEL': `."""

    kind = "pkcs11-pin"
    pattern = re.compile(r"Enter PIN for '[^\n]*': \Z")


class HostKeyPrompt(Prompt):
    """An unknown host key: `Are you sure you want to continue connecting (yes/no…)? `.

    The answer is "yes", "no", or the fingerprint as it was learned from somewhere else.
    """

    kind = "host-key"
    hidden = False
    pattern = re.compile(
        r"(?:(?:The authenticity of host '.*\n)?"
        r"Are you sure you want to continue connecting \(yes/no(?:/\[fingerprint\])?\)\? "
        r"|Please type 'yes', 'no'(?: or the fingerprint)?: )\Z",
        re.DOTALL,
    )

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as `SHA256:…`; empty where ssh does not show it."""
        # 9.2 ends it with a dot; 10 has a colon before it.
        found = re.search(r"^\S+ key fingerprint is:? (\S+?)\.?$", self.text, re.MULTILINE)
        return found[1] if found else ""

    @property
    def key_of(self) -> str:
        """The host whose key it is, by the name that it would have in known_hosts."""
        found = re.match(r"The authenticity of host '(.*?) \(.*?\)' can't", self.text)
        return found[1] if found else ""


class TouchPrompt(Prompt):
    """A FIDO key waits to be touched: `Confirm user presence for key …`. There is no answer."""

    kind = "touch"
    hidden = False
    wants_answer = False
    pattern = re.compile(r"Confirm user presence for key [^\n]*\n\Z")


class MenuPrompt(Prompt):
    """A choice, as Duo offers it: `Passcode or option (1-3): `. An answer is a number or a code."""

    kind = "menu"
    hidden = False
    pattern = re.compile(rf"{_WHO}(?:.*\n)?{_LINE}\(\d{{1,3}}-\d{{1,3}}\) ?: ?\Z", re.DOTALL)

    @property
    def options(self) -> dict[str, str]:
        """What can be chosen: "1" → "Duo Push to XXX-XXX-1234"."""
        found = re.findall(r"^ {0,20}(\d{1,3})\. {1,8}(\S[^\n]*)$", self.text, re.MULTILINE)
        return {number: words.rstrip() for number, words in found}


class OneTimePrompt(Prompt):
    """A one-time code: `(user@host) Verification code: `. Not a PIN: that is no code."""

    kind = "one-time"
    hidden = False  # it is of no use a second time
    pattern = re.compile(
        rf"{_WHO}(?s:.*\n)?(?!{_LINE}\b(?i:pin)\b)"
        rf"{_LINE}(?i:\bcode\b|passcode|one[- ]time|\botp\b|token|authenticator){_LINE}: ?\Z"
    )


class InteractivePrompt(Prompt):
    """Any other keyboard-interactive question."""

    kind = "interactive"
    hidden = False
    complete = False
    pattern = re.compile(rf"{_WHO}.*\Z", re.DOTALL)

    @property
    def question(self) -> str:
        """What is asked, without what stands before it and without its colon."""
        line = self.text.rstrip().rpartition("\n")[2]
        return line.removeprefix(f"({self.who})").strip().rstrip(":\uff1a").rstrip().casefold()


class UnknownPrompt(Prompt):
    """Text that waits for an answer, and that no other class knows. It never gets one."""

    hidden = False
    complete = False
    pattern = re.compile(r".*\S[ ]?\Z", re.DOTALL)


KINDS: tuple[type[Prompt], ...] = (
    PasswordPrompt,
    InteractivePasswordPrompt,
    NewPasswordPrompt,
    PassphrasePrompt,
    SecurityKeyPinPrompt,
    TokenPinPrompt,
    HostKeyPrompt,
    TouchPrompt,
    MenuPrompt,
    OneTimePrompt,
    InteractivePrompt,
)

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def sanitise(text: str, limit: int = 200) -> str:
    """Text of a stranger's, fit for a message: no control characters, no endless lines."""
    clean = _CONTROL.sub("", text).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def classify(text: str, *, echo: bool = False, named: bool = True) -> Prompt:
    """The prompt that `text` is: all that came on the terminal since the last answer.

    Control characters make it unknown: ssh's own prompts have none, and a terminal escape, or a
    mark that turns the writing direction, could make one prompt look like another.

    Parameters:
        echo: whether the terminal shows what is typed.
        named: this ssh says who asks (`NAMES_WHO_ASKS`). If not, a question that is none of
            ssh's own counts as one of the only server there is; there must be no jump host.
    """
    whole = re.sub(r"\r{1,8}\n", "\n", text).lstrip("\r\n")
    if not _CONTROL.search(whole):
        for kind in KINDS:
            found = kind.pattern.fullmatch(whole)
            if found:
                groups = found.groupdict()
                return kind(whole, groups.get("who") or groups.get("asker") or "", echo)
        if not named:
            stand_in = classify(f"(-@-) {whole}", echo=echo)
            return type(stand_in)(whole, "", echo)
    return UnknownPrompt(sanitise(whole.rpartition("\n")[2]), echo=echo)


def expected_who(user: str, host: str) -> frozenset[str]:
    """The forms of `user@host` under which ssh asks for this host.

    Older versions cut the user at 30 and the host at 128 characters in the `password` method
    (`%.30s@%.128s's password: `).
    """
    return frozenset({f"{user}@{host}", f"{user[:30]}@{host[:128]}"})
