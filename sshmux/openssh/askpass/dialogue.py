"""ssh behind the askpass: its questions come here, and answers go back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ...system.pipes import Reader, Writer
from ...system.processes import Child, spawn
from ...system.secret import Secret
from ...system.tasks import TaskGroup
from ...text import logger
from .launch import Launch, Listener, log_pipe, output_pipe
from .own_log import OwnLog
from .prompts import Prompt, TouchPrompt, UnknownPrompt, classify

log = logger("sshmux.dial")

# Isolated (-I): the working directory, PYTHONPATH and the directory of the program that runs are
# no places to import from. This very sshmux is loaded from where it is; what else is needed comes
# from the interpreter's own places, and only then from the places that this program knows.
_HELPER = """\
import json, sys
from importlib import util
task = json.loads(sys.stdin.readline())
sys.path += [entry for entry in task.pop("path") if entry not in sys.path]
home = task.pop("package")
spec = util.spec_from_file_location(
    "sshmux", home + "/__init__.py", submodule_search_locations=[home])
sys.modules["sshmux"] = package = util.module_from_spec(spec)
spec.loader.exec_module(package)
from sshmux.openssh.askpass import helper; helper.main(task)
"""
_PACKAGE = Path(__file__).resolve().parents[2]
_NOTIFY = Path(__file__).with_name("notify.sh")
_LEAVE = 1.0  # seconds for the helper to go when it is not wanted any more
_MAX_LINE = 1024 * 1024  # of the helper's; it says less, whatever ssh is made to say


Source = Literal["stored", "code", "user"]


@dataclass(frozen=True)
class Answer:
    """What is typed. `hidden`: only while the terminal does not show it."""

    value: Secret
    hidden: bool


class Answerer(Protocol):
    """Whoever answers the prompts of one log-in.

    Attributes:
        named: whether this ssh says who asks: see `prompts.classify`.
        somebody: whether there is a user behind it, who may mistype.
        given: where answers came from: "stored", "code", "user".
        unanswered: the prompt that got no answer, which ended the log-in.
        why: why not.
        trouble: the exception behind that, if there was one.
    """

    named: bool
    somebody: bool
    given: set[Source]
    unanswered: Prompt | None
    why: str
    trouble: BaseException | None

    async def answer(self, prompt: Prompt) -> Answer | None:
        """The answer, or None to decline, which ends the log-in. Cancelled when ssh moves on."""

    async def notice(self, prompt: Prompt) -> None:
        """Tells that something is to be done that is no answer. Cancelled when ssh moves on."""

    def refused(self, prompt: Prompt) -> None:
        """A prompt that was not even asked: what came on the terminal is none."""


class DialogueLaunch(Launch):
    """One ssh behind the askpass."""

    def __init__(
        self,
        child: Child,
        own_log: OwnLog,
        log: Reader,
        stderr: Reader,
        said: _Lines,
        task: int,
        answerer: Answerer,
    ) -> None:
        super().__init__(child, own_log, log, stderr)
        self._said = said
        self._task = task
        self._answerer = answerer
        self._asking = TaskGroup()
        self._notified: asyncio.Task[None] | None = None
        self._status: int | None = None
        said.listen(self._hear)

    def _hear(self, message: dict[str, Any]) -> None:
        if self._notified is not None:
            self._notified.cancel()  # ssh has moved on
        if "status" in message:
            self._status = int(message["status"])
        elif "notice" in message:
            self._notified = self._asking.start(self._notice(str(message["notice"])))
        elif "ask" in message:
            self._asking.start(self._ask(message))

    async def _ask(self, message: dict[str, Any]) -> None:
        """One question. Whatever goes wrong here, ssh gets an answer, or is ended."""
        answer: Answer | None = None
        try:
            if message.get("refused"):
                self._answerer.refused(UnknownPrompt(str(message["ask"])))
                return
            echo = bool(message["echo"])
            prompt = classify(str(message["ask"]), echo=echo, named=self._answerer.named)
            log.debug("ssh asks (%s): %r", prompt.kind, prompt.text)
            answer = await self._answerer.answer(prompt)
        finally:
            self._tell(answer)

    def _tell(self, answer: Answer | None) -> None:
        if self._task < 0:
            return
        # Far less than a pipe holds, and the helper reads: this never blocks. No variable has the
        # text: a traceback may be shown with those.
        with contextlib.suppress(OSError):
            os.write(self._task, _line(answer))

    async def _notice(self, text: str) -> None:
        with contextlib.suppress(Exception):
            await self._answerer.notice(TouchPrompt(text))

    async def _exit_status(self) -> int:
        try:
            helper = await self._child.wait()
            await self._said.reader.ended()
        finally:
            await self._asking.cancel()
        return (helper or 255) if self._status is None else self._status

    async def end(self) -> None:
        # Its stdin's end tells the helper to end ssh, which is in a session of its own.
        self._hang_up()
        await self._asking.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await self._child.wait()
        await super().end()

    def _hang_up(self) -> None:
        if self._task >= 0:
            os.close(self._task)
            self._task = -1

    def close(self) -> None:
        self._hang_up()
        self._said.reader.close()
        super().close()


def _line(answer: Answer | None) -> bytes:
    value = None if answer is None else answer.value.reveal()
    return json.dumps({"answer": value, "hidden": answer is None or answer.hidden}).encode() + b"\n"


class _Lines:
    """The helper's lines, one JSON object each."""

    def __init__(self) -> None:
        self.reader, self.end = Reader.pipe(self._take)
        self._buffer = b""
        self._heard: Callable[[dict[str, Any]], object] = _nothing

    def listen(self, heard: Callable[[dict[str, Any]], object]) -> None:
        self._heard = heard

    def _take(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _MAX_LINE:
            self._buffer = b""
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._heard(json.loads(line))


def _nothing(_: dict[str, Any]) -> None:
    """Before anybody listens."""


def _announcing(env: dict[str, str]) -> dict[str, str]:
    """The environment in which ssh announces, by `notify.sh`, that a FIDO key is to be touched.

    It does so only if there seems to be a display (readpass.c: notify_start).
    """
    if not os.access(_NOTIFY, os.X_OK):
        return env
    return {**env, "SSH_ASKPASS": str(_NOTIFY), "DISPLAY": env.get("DISPLAY") or "none"}


def launch_dialogue(
    argv: list[str], env: dict[str, str], answerer: Answerer, listener: Listener | None = None
) -> Launch:
    """Starts ssh behind the askpass, in a helper process."""
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as always:
        own_log, log, log_end = log_pipe(listener)
        undo.callback(log.close)
        always.callback(os.close, log_end)
        stderr, stderr_end = output_pipe(listener)
        undo.callback(stderr.close)
        always.callback(os.close, stderr_end)
        said = _Lines()
        undo.callback(said.reader.close)
        always.callback(os.close, said.end)
        task_end, writing = os.pipe()
        undo.callback(os.close, writing)
        always.callback(os.close, task_end)
        child = spawn(
            [sys.executable, "-I", "-c", _HELPER],
            stdin=task_end,
            stdout=said.end,
            stderr=stderr_end,
            env=_announcing(env),
            keep=log_end,
        )
        task = {
            "path": [entry for entry in sys.path if os.path.isabs(entry)],
            "package": str(_PACKAGE),
            "argv": argv,
            "named": answerer.named,
            "log": log_end,
        }
        # The pipe stays open after the task: its end is the helper's signal to give up.
        Writer(os.dup(writing), json.dumps(task).encode() + b"\n")
        undo.pop_all()
        return DialogueLaunch(child, own_log, log, stderr, said, writing, answerer)
