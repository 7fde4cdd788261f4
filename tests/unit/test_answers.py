"""Who answers: what is stored, once and to nobody else; then a person, one question at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pyotp
import pytest

from sshmux.answers import Answers, Asker, Asking, Stored
from sshmux.deadline import Deadline
from sshmux.openssh.prompts import Prompt, TouchPrompt, classify
from sshmux.secret import Secret
from sshmux.totp import OneTimeCodes

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HPC = Asker(frozenset({"ada@hpc"}), Secret("hpc's"), Secret(SEED))
JUMP = Asker(frozenset({"ada@jump"}), Secret("jump's"))
STORED = Stored([HPC, JUMP], {"/k": Secret("phr4se")})
NOTHING = Stored()


class Person:
    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> Any:
        self.asked.append(prompt)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def make(
    stored: Stored = STORED, person: Any = None, *, named: bool = True, timeout: float = 5
) -> Answers:
    return Answers(
        stored,
        Asking(person, timeout),
        OneTimeCodes(),
        named=named,
        deadline=Deadline(60),
        cluster_id=1,
        host="hpc",
    )


async def said(answers: Answers, text: str, *, echo: bool = False) -> str | None:
    answer = await answers.answer(classify(text, echo=echo, named=answers.named))
    return None if answer is None else answer.value.reveal()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("ada@hpc's password: ", "hpc's"),
        ("(ada@hpc) Password: ", "hpc's"),
        ("ada@jump's password: ", "jump's"),
        ("(ada@jump) Password: ", "jump's"),
        ("Enter passphrase for key '/k': ", "phr4se"),
        ("ada@other's password: ", None),
        ("(eve@hpc) Password: ", None),
        ("Enter passphrase for key '/other': ", None),
        ("(ada@hpc) Enter passphrase for key '/k': ", None),
        ("(ada@hpc) New password: ", None),
        ("Enter ada@hpc's old password: ", None),
        ("Enter PIN for 'card': ", None),
        ("(ada@jump) Verification code: ", None),
        ("(ada@hpc) Shoe size? ", None),
        ("Password: ", None),
    ],
)
async def test_what_is_stored_goes_to_whom_it_belongs(text: str, answer: str | None) -> None:
    answers = make()
    assert await said(answers, text) == answer
    if answer is None:
        assert answers.unanswered is not None
        assert answers.why == "nobody here can answer"
        assert answers.given == set()
    else:
        assert answers.given == {"stored"}
        assert await said(answers, text) is None  # once


async def test_a_key_whose_path_is_cut() -> None:
    path = "/home/ada/" + "x" * 150
    prompt = f"Enter passphrase for key '{path[:100]}': "
    assert await said(make(Stored([], {path: Secret("long")})), prompt) == "long"
    two = Stored([], {path: Secret("long"), path + "2": Secret("longer")})
    assert await said(make(two), prompt) is None


async def test_never_to_an_echo() -> None:
    for text in ("ada@hpc's password: ", "Enter passphrase for key '/k': "):
        answers = make()
        assert await said(answers, text, echo=True) is None
        assert await said(answers, text) is not None  # and it was not used up


async def test_a_stored_answer_says_that_it_must_be_hidden() -> None:
    answer = await make().answer(classify("ada@hpc's password: "))
    assert answer is not None
    assert answer.hidden
    assert "hpc's" not in repr(answer)


async def test_two_hosts_of_one_name_get_nothing() -> None:
    other = Asker(HPC.who, Secret("other's"))
    answers = make(Stored([HPC, other]))
    assert await said(answers, "ada@hpc's password: ") is None


async def test_a_code_is_made_and_used_once() -> None:
    answers = make()
    code = await said(answers, "(ada@hpc) Verification code: ", echo=True)
    assert code in (pyotp.TOTP(SEED).at(time.time()), pyotp.TOTP(SEED).at(time.time() - 30))
    assert answers.given == {"code"}
    assert await said(answers, "(ada@hpc) Verification code: ") is None


async def test_an_ssh_that_names_nobody() -> None:
    answers = make(Stored([HPC], {"/k": Secret("phr4se")}), named=False)
    assert await said(answers, "Password: ") == "hpc's"
    # The server could ask just like this.
    assert await said(answers, "Enter passphrase for key '/k': ") is None
    both = make(named=False)
    assert await said(both, "Password: ") is None


# A person


async def test_a_person_is_asked_what_nothing_stored_answers() -> None:
    person = Person("typed", "again", "")
    answers = make(person=person)
    assert await said(answers, "ada@hpc's password: ") == "hpc's"
    assert person.asked == []
    assert await said(answers, "ada@hpc's password: ") == "typed"
    assert await said(answers, "ada@hpc's password: ") == "again"
    assert await said(answers, "(ada@hpc) Press Enter: ") == ""
    assert answers.given == {"stored", "person"}
    assert [prompt.attempt for prompt in person.asked] == [2, 3, 1]
    first = person.asked[0]
    assert (first.kind, first.who, first.cluster_id, first.host) == (
        "password",
        "ada@hpc",
        1,
        "hpc",
    )
    assert first.deadline is not None
    assert 0 < first.deadline - time.time() <= 6


async def test_nobody_is_asked_what_is_no_question() -> None:
    person = Person("typed")
    answers = make(person=person)
    assert await said(answers, "$ ") is None
    assert await said(answers, "\x1b[2Jada@hpc's password: ") is None
    assert person.asked == []


@pytest.mark.parametrize(
    ("answer", "why", "trouble"),
    [
        (None, "it was declined", None),
        (RuntimeError("s3cret"), "answering failed (RuntimeError)", RuntimeError),
        (7, "answering failed (TypeError)", TypeError),
        (b"bytes", "answering failed (TypeError)", TypeError),
        ("two\nlines", "answering failed (ValueError)", ValueError),
        ("\x03", "answering failed (ValueError)", ValueError),
        ("ä" * 501, "answering failed (ValueError)", ValueError),
    ],
)
async def test_no_answer(answer: object, why: str, trouble: type[Exception] | None) -> None:
    answers = make(NOTHING, Person(answer))
    assert await said(answers, "ada@hpc's password: ") is None
    assert answers.why == why
    assert answers.given == set()
    assert type(answers.trouble) is (trouble or type(None))
    assert answers.unanswered is not None
    assert answers.unanswered.kind == "password"


async def test_a_prompter_that_is_no_async_function() -> None:
    answers = make(NOTHING, lambda prompt: "typed")
    assert await said(answers, "ada@hpc's password: ") is None
    assert "async" in str(answers.trouble)


async def test_a_person_has_prompt_timeout_and_the_log_in_waits() -> None:
    async def absent(prompt: Prompt) -> str:
        await asyncio.sleep(3600)
        return ""

    deadline = Deadline(0.05)
    answers = Answers(NOTHING, Asking(absent, 0.2), OneTimeCodes(), named=True, deadline=deadline)
    async with deadline.enforced():  # 0.05 s, and 0.2 s of a person's
        assert await said(answers, "ada@hpc's password: ") is None
    assert answers.why == "nobody answered within 0.2 s"
    assert 0 < deadline.left <= 0.05


async def test_one_question_at_a_time_whoever_logs_in() -> None:
    now_asked = most = 0

    async def person(prompt: Prompt) -> str:
        nonlocal now_asked, most
        now_asked += 1
        most = max(most, now_asked)
        await asyncio.sleep(0.01)
        now_asked -= 1
        return "typed"

    asking = Asking(person, 5)
    many = [
        Answers(NOTHING, asking, OneTimeCodes(), named=True, deadline=Deadline(5)) for _ in range(5)
    ]
    assert await asyncio.gather(*(said(each, "a@b's password: ") for each in many)) == ["typed"] * 5
    assert most == 1


async def test_cancelled_it_leaves_the_turn_to_others() -> None:
    begun = asyncio.Event()

    async def person(prompt: Prompt) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return ""

    answers = make(NOTHING, person)
    task = asyncio.ensure_future(said(answers, "a@b's password: "))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not answers._asking.turn.locked()


async def test_a_touch_is_announced_and_the_deadline_waits_until_ssh_goes_on() -> None:
    person, deadline = Person(), Deadline(0.05)
    answers = Answers(NOTHING, Asking(person, 5), OneTimeCodes(), named=True, deadline=deadline)
    async with deadline.enforced():
        notice = asyncio.ensure_future(answers.notice(TouchPrompt("Confirm user presence …")))
        await asyncio.sleep(0.2)
        assert not notice.done()
        notice.cancel()
        await asyncio.wait((notice,))
    assert [prompt.kind for prompt in person.asked] == ["touch"]
    assert answers.given == {"person"}


def test_no_secret_shows() -> None:
    assert bool(STORED)
    assert not NOTHING
    assert not Stored([Asker(frozenset())])
    for shown in (repr(STORED), str(STORED), f"{HPC!r}", repr(vars(HPC))):
        assert "hpc's" not in shown
        assert "phr4se" not in shown
        assert SEED not in shown
