"""What ssh asks on its terminal, and who asks. Pure.

A prompt is recognised by its exact form only, and a password is given only to the prompt that
names the expected user and host: a jump host asks on the same terminal, and a server chooses
the words of a keyboard-interactive question, but not the `(user@host) ` that ssh puts before it
since 8.5 (sshconnect2.c). A host key question is never answered from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

# Since OpenSSH 8.5 a keyboard-interactive question begins with `(user@host) `, which the server
# cannot forge. Before, a jump host could ask exactly as the target does.
NAMES_WHO_ASKS = (8, 5)


@dataclass(frozen=True)
class Prompt:
    """A question on ssh's terminal. `who` is `user@host` where ssh says so."""

    text: str
    who: str = ""

    pattern: ClassVar[re.Pattern[str]]


class PasswordPrompt(Prompt):
    """The `password` method: `user@host's password: `."""

    pattern = re.compile(r"(?P<who>\S+@\S+)'s password: \Z")


class InteractivePasswordPrompt(Prompt):
    """Keyboard-interactive, asking what PAM asks for a password: `(user@host) Password: `."""

    pattern = re.compile(r"\((?P<who>[^()\s]+@[^()\s]+)\) (?i:password): ?\Z")


class PassphrasePrompt(Prompt):
    """A private key is encrypted: `Enter passphrase for key 'PATH': `."""

    pattern = re.compile(r"Enter passphrase for (?:key )?\S.*: \Z")


class HostKeyPrompt(Prompt):
    """An unknown host key: `Are you sure you want to continue connecting (yes/no…)? `."""

    pattern = re.compile(
        r"(?:Are you sure you want to continue connecting \(yes/no(?:/\[fingerprint\])?\)\? "
        r"|Please type 'yes', 'no'(?: or the fingerprint)?: )\Z"
    )


class InteractivePrompt(Prompt):
    """Any other keyboard-interactive question: a one-time code, a menu."""

    pattern = re.compile(r"\((?P<who>[^()\s]+@[^()\s]+)\) .*\S.*\Z", re.DOTALL)


class UnknownPrompt(Prompt):
    """Text that ends without a newline, and that no other class knows."""

    pattern = re.compile(r".*\S[ ]?\Z")


KINDS: tuple[type[Prompt], ...] = (
    PasswordPrompt,
    InteractivePasswordPrompt,
    PassphrasePrompt,
    HostKeyPrompt,
    InteractivePrompt,
)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def sanitise(text: str, limit: int = 200) -> str:
    """Text of a stranger's, fit for a message: no control characters, no endless lines."""
    clean = _CONTROL.sub("", text).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def classify(text: str) -> Prompt:
    """The prompt that `text` is, whole; or, of those that name nobody, the one at its end.

    A server's own words may have line breaks, which ssh passes on to the terminal (utf8.c:
    asmprintf): the last line of a jump host's question can read like a prompt of another host.
    So a prompt that names somebody is the whole text since the last answer, or it is none.
    Other control characters make it unknown: ssh's own prompts have none, and a terminal
    escape could make one prompt look like another.
    """
    whole = re.sub(r"\r+\n", "\n", text).lstrip("\r\n")
    line = whole.rpartition("\n")[2]
    for kind in KINDS:
        asked = whole if "who" in kind.pattern.groupindex else line
        if not _CONTROL.search(asked) and (found := kind.pattern.fullmatch(asked)):
            return kind(asked, found.groupdict().get("who") or "")
    return UnknownPrompt(sanitise(line))


def expected_who(user: str, host: str) -> frozenset[str]:
    """The forms of `user@host` under which ssh asks for this host.

    The `password` method cuts the user at 30 and the host at 128 characters
    (`%.30s@%.128s's password: `); keyboard-interactive cuts neither.
    """
    return frozenset({f"{user}@{host}", f"{user[:30]}@{host[:128]}"})


def takes_password(prompt: Prompt, expected: frozenset[str]) -> bool:
    """Whether the password of one of `expected` (`user@host`) may be given to this prompt."""
    return isinstance(prompt, PasswordPrompt | InteractivePasswordPrompt) and prompt.who in expected
