"""Who answers: what is stored, once and to nobody else; then a user, one question at a time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pyotp
import pytest

from sshmux.login.answers import HostSecrets, PromptAnswerer, PromptQueue, StoredSecrets
from sshmux.login.totp import OneTimeCodes
from sshmux.openssh.askpass.prompts import Prompt, TouchPrompt, classify
from sshmux.system.deadline import Deadline
from sshmux.system.secret import Secret

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HPC = HostSecrets(frozenset({"ada@hpc"}), Secret("hpc's"), Secret(SEED))
JUMP = HostSecrets(frozenset({"ada@jump"}), Secret("jump's"))
STORED = StoredSecrets([HPC, JUMP], {"/k": Secret("phr4se")})
NOTHING = StoredSecrets()


class User:
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
    stored: StoredSecrets = STORED, user: Any = None, *, named: bool = True, timeout: float = 5
) -> PromptAnswerer:
    return PromptAnswerer(
        stored,
        PromptQueue(user, timeout),
        OneTimeCodes(),
        named=named,
        deadline=Deadline(60),
        cluster_id=1,
        host="hpc",
    )


async def said(answers: PromptAnswerer, text: str, *, echo: bool = False) -> str | None:
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
    assert await said(make(StoredSecrets([], {path: Secret("long")})), prompt) == "long"
    two = StoredSecrets([], {path: Secret("long"), path + "2": Secret("longer")})
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
    other = HostSecrets(HPC.who, Secret("other's"))
    answers = make(StoredSecrets([HPC, other]))
    assert await said(answers, "ada@hpc's password: ") is None


async def test_a_code_is_made_and_used_once() -> None:
    answers = make()
    code = await said(answers, "(ada@hpc) Verification code: ", echo=True)
    assert code in (pyotp.TOTP(SEED).at(time.time()), pyotp.TOTP(SEED).at(time.time() - 30))
    assert answers.given == {"code"}
    assert await said(answers, "(ada@hpc) Verification code: ") is None


async def test_an_ssh_that_names_nobody() -> None:
    answers = make(StoredSecrets([HPC], {"/k": Secret("phr4se")}), named=False)
    assert await said(answers, "Password: ") == "hpc's"
    # The server could ask just like this.
    assert await said(answers, "Enter passphrase for key '/k': ") is None
    both = make(named=False)
    assert await said(both, "Password: ") is None


# A user


async def test_a_user_is_asked_what_nothing_stored_answers() -> None:
    user = User("typed", "again", "")
    answers = make(user=user)
    assert await said(answers, "ada@hpc's password: ") == "hpc's"
    assert user.asked == []
    assert await said(answers, "ada@hpc's password: ") == "typed"
    assert await said(answers, "ada@hpc's password: ") == "again"
    assert await said(answers, "(ada@hpc) Press Enter: ") == ""
    assert answers.given == {"stored", "user"}
    assert [prompt.attempt for prompt in user.asked] == [2, 3, 1]
    first = user.asked[0]
    assert (first.kind, first.who, first.cluster_id, first.host) == (
        "password",
        "ada@hpc",
        1,
        "hpc",
    )
    assert first.deadline is not None
    assert 0 < first.deadline - time.time() <= 6


async def test_nobody_is_asked_what_is_no_question() -> None:
    user = User("typed")
    answers = make(user=user)
    assert await said(answers, "$ ") is None
    assert await said(answers, "\x1b[2Jada@hpc's password: ") is None
    assert user.asked == []


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
    answers = make(NOTHING, User(answer))
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


async def test_a_user_has_prompt_timeout_and_the_log_in_waits() -> None:
    async def absent(prompt: Prompt) -> str:
        await asyncio.sleep(3600)
        return ""

    deadline = Deadline(0.05)
    answers = PromptAnswerer(
        NOTHING, PromptQueue(absent, 0.2), OneTimeCodes(), named=True, deadline=deadline
    )
    async with deadline.enforced():  # 0.05 s, and 0.2 s of a user's
        assert await said(answers, "ada@hpc's password: ") is None
    assert answers.why == "nobody answered within 0.2 s"
    assert 0 < deadline.left <= 0.05 + 1e-9  # what is left is a difference of two floats


async def test_one_question_at_a_time_whoever_logs_in() -> None:
    now_asked = most = 0

    async def user(prompt: Prompt) -> str:
        nonlocal now_asked, most
        now_asked += 1
        most = max(most, now_asked)
        await asyncio.sleep(0.01)
        now_asked -= 1
        return "typed"

    asking = PromptQueue(user, 5)
    many = [
        PromptAnswerer(NOTHING, asking, OneTimeCodes(), named=True, deadline=Deadline(5))
        for _ in range(5)
    ]
    assert await asyncio.gather(*(said(each, "a@b's password: ") for each in many)) == ["typed"] * 5
    assert most == 1


async def test_cancelled_it_leaves_the_turn_to_others() -> None:
    begun = asyncio.Event()

    async def user(prompt: Prompt) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return ""

    answers = make(NOTHING, user)
    task = asyncio.ensure_future(said(answers, "a@b's password: "))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not answers._asking.turn.locked()


async def test_a_touch_is_announced_and_the_deadline_waits_until_ssh_goes_on() -> None:
    user, deadline = User(), Deadline(0.05)
    answers = PromptAnswerer(
        NOTHING, PromptQueue(user, 5), OneTimeCodes(), named=True, deadline=deadline
    )
    async with deadline.enforced():
        notice = asyncio.ensure_future(answers.notice(TouchPrompt("Confirm user presence …")))
        await asyncio.sleep(0.2)
        assert not notice.done()
        notice.cancel()
        await asyncio.wait((notice,))
    assert [prompt.kind for prompt in user.asked] == ["touch"]
    assert answers.given == {"user"}


def test_no_secret_shows() -> None:
    assert bool(STORED)
    assert not NOTHING
    assert not StoredSecrets([HostSecrets(frozenset())])
    for shown in (repr(STORED), str(STORED), f"{HPC!r}", repr(vars(HPC))):
        assert "hpc's" not in shown
        assert "phr4se" not in shown
        assert SEED not in shown


# Whatever a prompter does


async def test_a_dialog_that_was_closed_is_a_question_declined() -> None:
    """A future that the program cancelled, say; nobody cancelled the log-in."""

    async def user(prompt: Prompt) -> str:
        dialog: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        dialog.cancel()
        return await dialog

    answers = make(NOTHING, user)
    answer: object = None
    try:
        answer = await answers.answer(classify("ada@hpc's password: "))
    except asyncio.CancelledError:
        answer = "cancelled"
    assert answer is None
    assert answers.unanswered is not None


async def test_a_prompters_own_timeout_is_not_ours() -> None:
    answers = make(NOTHING, User(TimeoutError("the desktop did not answer")))
    assert await said(answers, "ada@hpc's password: ") is None
    assert "within" not in answers.why
    assert isinstance(answers.trouble, TimeoutError)


@pytest.mark.parametrize(
    "answer",
    ["s3cret\x03", "s3cret\udce4word", "s3cret\nword", "s3cret" * 200],
    ids=["control", "surrogate", "lines", "long"],
)
async def test_an_answer_that_is_none_is_not_shown_either(answer: str) -> None:
    answers = make(NOTHING, User(answer))
    assert await said(answers, "ada@hpc's password: ") is None
    error = answers.trouble
    assert error is not None
    shown = f"{answers.why} {error} {error!r} {error.__context__!r} {error.__cause__!r}"
    assert "s3cret" not in shown


async def test_what_cannot_be_typed_is_not_asked_for() -> None:
    """A secret is never typed into an echo: a user would show it for nothing."""
    user = User("typed")
    answers = make(NOTHING, user)
    assert await said(answers, "ada@hpc's password: ", echo=True) is None
    assert user.asked == []
    assert answers.unanswered is not None


async def test_what_is_no_secret_may_be_asked_for_with_an_echo() -> None:
    user = User("2")
    answers = make(NOTHING, user)
    assert await said(answers, "(ada@hpc) Passcode or option (1-3): ", echo=True) == "2"
    assert user.asked[0].echo is True


async def test_the_longest_answer() -> None:
    answers = make(NOTHING, User("x" * 1000, "ä" * 500, "tab\tbed"))
    for wanted in ("x" * 1000, "ä" * 500, "tab\tbed"):
        assert await said(answers, "(ada@hpc) Shoe size? ") == wanted


async def test_a_prompter_that_raises_at_once() -> None:
    def user(prompt: Prompt) -> Any:
        raise RuntimeError("no display")

    answers = make(NOTHING, user)
    assert await said(answers, "ada@hpc's password: ") is None
    assert (answers.why, answers.given) == ("answering failed (RuntimeError)", set())


# Turns and times


async def test_what_is_stored_waits_for_no_user() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def user(prompt: Prompt) -> str:
        asked.set()
        await go_on.wait()
        return "typed"

    asking = PromptQueue(user, 5)
    one, other = (
        PromptAnswerer(stored, asking, OneTimeCodes(), named=True, deadline=Deadline(60))
        for stored in (NOTHING, STORED)
    )
    slow = asyncio.ensure_future(said(one, "ada@hpc's password: "))
    await asyncio.wait_for(asked.wait(), 5)
    assert await asyncio.wait_for(said(other, "ada@hpc's password: "), 1) == "hpc's"
    go_on.set()
    assert await slow == "typed"


async def test_cancelled_in_the_queue_it_is_not_asked() -> None:
    asked: list[str] = []
    go_on = asyncio.Event()

    async def user(prompt: Prompt) -> str:
        asked.append(prompt.who)
        await go_on.wait()
        return "typed"

    asking = PromptQueue(user, 5)
    tasks, deadlines = [], []
    for name in ("a@a", "b@b", "c@c"):
        deadlines.append(Deadline(60))
        each = PromptAnswerer(NOTHING, asking, OneTimeCodes(), named=True, deadline=deadlines[-1])
        tasks.append(asyncio.ensure_future(said(each, f"{name}'s password: ")))
        await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait((tasks[1],))
    go_on.set()
    assert [await tasks[0], await tasks[2]] == ["typed", "typed"]
    assert asked == ["a@a", "c@c"]
    left = deadlines[1].left
    await asyncio.sleep(0.01)
    assert deadlines[1].left < left  # it goes on


async def test_waiting_for_a_turn_is_not_held_against_the_log_in_nor_the_user() -> None:
    async def user(prompt: Prompt) -> str:
        await asyncio.sleep(0.1)
        return "typed"

    asking = PromptQueue(user, 0.45)  # for each question: five together take longer

    async def one() -> str | None:
        deadline = Deadline(0.2)  # waiting for one's turn takes longer
        answers = PromptAnswerer(NOTHING, asking, OneTimeCodes(), named=True, deadline=deadline)
        async with deadline.enforced():
            return await said(answers, "a@b's password: ")

    assert await asyncio.gather(*(one() for _ in range(5))) == ["typed"] * 5


async def test_after_a_choice_there_is_time_for_a_push_to_be_approved() -> None:
    for text, more in (
        ("(ada@hpc) Passcode or option (1-3): ", True),
        ("(ada@hpc) Press Enter when you have approved it ", True),
        ("(ada@hpc) Verification code: ", False),
        ("ada@hpc's password: ", False),
    ):
        deadline = Deadline(1)
        asking = PromptQueue(User("1"), 100)
        answers = PromptAnswerer(NOTHING, asking, OneTimeCodes(), named=True, deadline=deadline)
        assert await said(answers, text) == "1"
        assert (deadline.left > 50) is more


async def test_it_tells_when_a_user_is_asked() -> None:
    told: list[bool] = []

    async def user(prompt: Prompt) -> None:
        told.append(bool("asked"))
        raise RuntimeError

    answers = PromptAnswerer(
        STORED,
        PromptQueue(user, 5),
        OneTimeCodes(),
        named=True,
        deadline=Deadline(60),
        on_asking=told.append,
    )
    await said(answers, "ada@hpc's password: ")
    assert told == []
    await said(answers, "ada@hpc's password: ")
    assert told == [True, True, False]


async def test_a_code_that_has_to_be_waited_for_takes_none_of_the_log_ins_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(OneTimeCodes):
        async def next_code(self, secret: Secret) -> Secret:
            await asyncio.sleep(0.2)
            return Secret("123456")

    deadline = Deadline(0.05)
    answers = PromptAnswerer(STORED, PromptQueue(None, 5), Slow(), named=True, deadline=deadline)
    async with deadline.enforced():
        assert await said(answers, "(ada@hpc) Verification code: ") == "123456"


async def test_a_seed_that_is_none_ends_the_log_in_and_is_not_shown() -> None:
    stored = StoredSecrets([HostSecrets(frozenset({"ada@hpc"}), totp=Secret("s33d!"))])
    answers = make(stored)
    assert await said(answers, "(ada@hpc) Verification code: ") is None
    assert answers.unanswered is not None
    assert "s33d" not in f"{answers.why} {answers.trouble!r}"
    assert answers.given == set()


async def test_a_notice_goes_wrong_quietly_or_not_at_all() -> None:
    touch = TouchPrompt("Confirm user presence …")
    told = User(RuntimeError("no display"))
    deadline = Deadline(60)
    answers = PromptAnswerer(
        NOTHING, PromptQueue(told, 5), OneTimeCodes(), named=True, deadline=deadline
    )
    with pytest.raises(RuntimeError):
        await answers.notice(touch)
    nobody = PromptAnswerer(
        NOTHING, PromptQueue(None, 0.05), OneTimeCodes(), named=True, deadline=deadline
    )
    with pytest.raises(TimeoutError):
        await nobody.notice(touch)
    assert nobody.given == set()
    left = deadline.left
    await asyncio.sleep(0.01)
    assert deadline.left < left


async def test_what_is_no_question_is_kept_for_the_message() -> None:
    answers = make()
    answers.refused(classify("$ "))
    assert answers.unanswered is not None
    assert answers.unanswered.kind == "unknown"
    assert answers.why


# Who gets it


@pytest.mark.parametrize(
    "text",
    [
        "(eve@jump) x\nada@hpc's password: ",
        "(eve@jump) (ada@hpc) Password: ",
        "(eve@jump) x\n(ada@hpc) Password: ",
        "(eve@jump) Enter passphrase for key '/k': ",
        "(eve@jump) x\nEnter passphrase for key '/k': ",
        "(ada@hpc.evil) Password: ",
        "(ADA@HPC) Password: ",
        "(ada@hpc ) Password: ",
        "(ada@hpc)Password: ",
        " (ada@hpc) Password: ",
        "ada@hpc's password:",
        "ada@hpc's password:  ",
        "x ada@hpc's password: ",
        "(ada@hpc) \u202ePassword: ",
        "Enter passphrase for key '/k' or else: ",
    ],
)
async def test_nothing_stored_goes_to_anybody_else(text: str) -> None:
    answers = make()
    assert await said(answers, text) is None
    assert (answers.given, answers._used) == (set(), set())


async def test_a_password_is_given_once_whichever_way_it_is_asked_for() -> None:
    answers = make()
    assert await said(answers, "(ada@hpc) Password: ") == "hpc's"
    assert await said(answers, "ada@hpc's password: ") is None
    again = make()
    assert await said(again, "ada@jump's password: ") == "jump's"
    assert await said(again, "ada@hpc's password: ") == "hpc's"


def test_nothing_secret_in_the_state_of_a_log_in() -> None:
    async def show() -> str:
        answers = make(user=User("typed"))
        await said(answers, "ada@hpc's password: ")
        await said(answers, "ada@hpc's password: ")
        await said(answers, "(ada@hpc) Verification code: ")
        return f"{answers!r} {vars(answers)} {vars(answers._asking)}"

    shown = asyncio.run(show())
    for hidden in ("hpc's'", "typed", "phr4se", SEED):
        assert hidden not in shown
