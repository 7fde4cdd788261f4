"""Who answers ssh's prompts in one log-in: what is stored, and then a user.

The rules are here. A stored secret goes only to the prompt that it is for, asked by exactly the
host that it belongs to, to a terminal that does not show it, and once. Whatever else is asked
goes to the program's `prompter`, with who asks; and without one, nobody answers.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..openssh.askpass.dialogue import Answer, Source
from ..openssh.askpass.prompts import (
    InteractivePasswordPrompt,
    InteractivePrompt,
    MenuPrompt,
    OneTimePrompt,
    PassphrasePrompt,
    PasswordPrompt,
    Prompt,
    UnknownPrompt,
    unescaped,
)
from ..system.clock import now
from ..system.deadline import Deadline
from ..system.secret import Secret, can_be_typed
from ..text import logger
from .totp import OneTimeCodes

log = logger("sshmux.dial")

Prompter = Callable[[Prompt], Awaitable[str | None]]

_SHOWN = 100  # characters of a key's path


@dataclass(frozen=True)
class HostSecrets:
    """One host of a log-in (the target, a jump host), and what is stored for it.

    Attributes:
        who: the forms of `user@host` under which ssh asks for it.
    """

    who: frozenset[str]
    password: Secret | None = None
    totp: Secret | None = None


@dataclass(frozen=True)
class StoredSecrets:
    """All that is stored for one log-in. `passphrases` are by the path of their key."""

    askers: Sequence[HostSecrets] = ()
    passphrases: Mapping[str, Secret] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.passphrases) or any(asker.password or asker.totp for asker in self.askers)


class PromptQueue:
    """A manager's way to ask a user: one question at a time, whatever is being logged in to."""

    def __init__(self, prompter: Prompter | None, timeout: float) -> None:
        self.prompter = prompter
        self.timeout = timeout
        self.turn = asyncio.Lock()


class PromptAnswerer:
    """The answers of one log-in (`openssh.askpass.dialogue.Answerer`).

    Parameters:
        named: whether this ssh says who asks; if not, there is no jump host.
        deadline: of the log-in; it stands still while a user is asked.

        cluster_id, host: for the user who is asked.
        on_asking: called with True when a user begins to be asked, with False afterwards.
        password_prompts: see `ConnectionConfig`.
    """

    def __init__(
        self,
        stored: StoredSecrets,
        asking: PromptQueue,
        codes: OneTimeCodes,
        *,
        named: bool,
        deadline: Deadline,
        cluster_id: Hashable = None,
        host: str = "",
        on_asking: Callable[[bool], object] | None = None,
        password_prompts: Collection[str] = (),
    ) -> None:
        self._password_prompts = {text.strip().rstrip(":").casefold() for text in password_prompts}
        self._on_asking = on_asking
        self.named = named
        self.somebody = asking.prompter is not None
        self.given: set[Source] = set()
        self.unanswered: Prompt | None = None
        self.why = ""
        self.trouble: BaseException | None = None
        self._stored = stored
        self._asking = asking
        self._codes = codes
        self._deadline = deadline
        self._cluster_id = cluster_id
        self._host = host
        self._attempts: Counter[tuple[str, str, str]] = Counter()
        self._used: set[Secret] = set()

    async def answer(self, prompt: Prompt) -> Answer | None:
        """The answer to one prompt, or None to end the log-in."""
        prompt = self._numbered(prompt)
        try:
            answer = await self._stored_answer(prompt) or await self._users_answer(prompt)
        except Exception as error:
            self._decline(prompt, f"answering failed ({type(error).__name__})", error)
            return None
        if answer is None and self.unanswered is None:
            self._decline(prompt, "nobody here can answer")
        return answer

    async def notice(self, prompt: Prompt) -> None:
        """Tells a user to do something (touch a key), and waits until ssh has noticed."""
        with self._users_time():
            async with asyncio.timeout(self._asking.timeout):
                if self._asking.prompter is not None:
                    self.given.add("user")
                    await self._asking.prompter(self._numbered(prompt))
                await asyncio.Event().wait()  # cancelled as soon as ssh goes on

    def refused(self, prompt: Prompt) -> None:
        """What came on the terminal is no prompt."""
        self._decline(prompt, "that is no question")

    def _numbered(self, prompt: Prompt) -> Prompt:
        key = (prompt.kind, prompt.who, prompt.text)
        self._attempts[key] += 1
        return replace(
            prompt,
            attempt=self._attempts[key],
            deadline=now() + self._asking.timeout,
            cluster_id=self._cluster_id,
            host=self._host,
        )

    def _decline(self, prompt: Prompt, why: str, trouble: BaseException | None = None) -> None:
        self.unanswered, self.why, self.trouble = prompt, why, trouble

    # What is stored

    async def _stored_answer(self, prompt: Prompt) -> Answer | None:
        secret = self._stored_secret(prompt)
        if secret is None or secret in self._used or (prompt.hidden and prompt.echo):
            return None
        self._used.add(secret)
        if isinstance(prompt, OneTimePrompt | MenuPrompt):
            with self._deadline.stopped():  # it may have to wait for the next code
                code = await self._codes.next_code(secret)
            self.given.add("code")
            return Answer(code, hidden=False)
        self.given.add("stored")
        return Answer(secret, hidden=True)

    def _stored_secret(self, prompt: Prompt) -> Secret | None:
        """What is kept for this prompt and for whoever asks it."""
        if isinstance(prompt, PassphrasePrompt):
            # Without the server's name in its questions, one could read just like this.
            return self._passphrase(prompt.key) if self.named else None
        asker = self._asker(prompt.who)
        if asker is None:
            return None
        if isinstance(prompt, PasswordPrompt | InteractivePasswordPrompt):
            return asker.password
        if isinstance(prompt, InteractivePrompt) and not prompt.echo:
            return asker.password if prompt.question in self._password_prompts else None
        if isinstance(prompt, OneTimePrompt | MenuPrompt):
            return asker.totp
        return None

    def _passphrase(self, key: str) -> Secret | None:
        """By the key's path, of which ssh shows the first 100 characters."""
        passphrases = self._stored.passphrases
        cut = [path for path in passphrases if len(key) >= _SHOWN and path.startswith(key)]
        return passphrases.get(key) or (passphrases[cut[0]] if len(cut) == 1 else None)

    def _asker(self, who: str) -> HostSecrets | None:
        if not who:
            askers = self._stored.askers
            return askers[0] if not self.named and len(askers) == 1 else None
        names = {who, unescaped(who)}
        named = [asker for asker in self._stored.askers if names & asker.who]
        # A jump host and what is behind it may have one name (a tunnel, an alias): then the name
        # does not tell which of them asks, and neither gets anything.
        return named[0] if len(named) == 1 else None

    # A user

    async def _users_answer(self, prompt: Prompt) -> Answer | None:
        if self._asking.prompter is None or isinstance(prompt, UnknownPrompt):
            return None
        if prompt.hidden and prompt.echo:
            self._decline(prompt, "the terminal would show the answer")
            return None
        with self._users_time():
            async with self._asking.turn:
                prompt = replace(prompt, deadline=now() + self._asking.timeout)
                try:
                    async with asyncio.timeout(self._asking.timeout) as limit:
                        secret = await _ask(self._asking.prompter, prompt)
                except TimeoutError:
                    if not limit.expired():
                        raise  # the prompter's own
                    self._decline(prompt, f"nobody answered within {self._asking.timeout:g} s")
                    return None
        if secret is None:
            self._decline(prompt, "it was declined")
            return None
        self.given.add("user")
        if isinstance(prompt, MenuPrompt | InteractivePrompt):
            # What comes next may be a user's doing as well: a push on the phone, approved.
            self._deadline.extend(self._asking.timeout)
        return Answer(secret, hidden=prompt.hidden)

    @contextmanager
    def _users_time(self) -> Iterator[None]:
        tell = self._on_asking or _nobody
        with self._deadline.stopped():
            tell(True)
            try:
                yield
            finally:
                tell(False)


def _nobody(_: bool) -> None:
    """Nobody wants to know."""


async def _ask(prompter: Prompter, prompt: Prompt) -> Secret | None:
    """What was typed. No variable has it: tracebacks may be shown with those."""
    answer: object = prompter(prompt)
    if not inspect.isawaitable(answer):
        del answer
        raise TypeError("prompter= must be an async function: it returned without being awaited")
    try:
        secret = Secret(await answer)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return None  # it was not us who were cancelled: a dialog that was closed, say
    if secret.reveal() is None:
        return None
    if not isinstance(secret.reveal(), str):
        raise TypeError("the prompter has to return a str, or None to decline")
    if not can_be_typed(secret.reveal()):
        raise ValueError("an answer is one line of at most 1,000 bytes, without control characters")
    return secret
