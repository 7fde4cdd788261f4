"""The askpass: a small process of its own, in which pexpect drives ssh's terminal.

Why a process: giving ssh a terminal needs fork() and code in the child before exec(), which is
not safe in a host program with threads. This one has a single thread while it forks.

Why not a plain `pexpect.spawn`: that puts ssh's stdout and stderr on the terminal as well, and a
server's banner goes to stderr and can read exactly like a password prompt. Here only the
controlling terminal is the pty; the prompts are what is left on it.

It knows no secret. It is told what to run by one JSON line on stdin, says what ssh asks by lines
on stdout, and gets each answer by a line on stdin when it is needed::

    → {"argv": […], "named": true, "log": 9} the task; the log goes to that descriptor
    ← {"ask": "me@host's password: ", "echo": false}
    → {"answer": "…", "hidden": true}        or {"answer": null}: nobody answers, so ssh is ended
    ← {"notice": "Confirm user presence …"}
    ← {"status": 0}                          ssh's exit status, the last line

The end of its stdin means that the manager is gone or has given up: then ssh is ended too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from typing import Any

from ...system.secret import can_be_typed
from .prompts import Prompt, UnknownPrompt, classify

_SETTLED = 0.05  # seconds of silence after which a question is taken to be whole
_QUIET = 1.0  # the same for text that nobody knows
_ECHO_PATIENCE = 2.0  # seconds for ssh to switch the terminal's echo off
_LAST_WORDS = 0.5  # for ssh to leave; a SIGTERM while it writes a question is lost on it
_MAX_TEXT = 64 * 1024  # of one question; more is no prompt
_PIECE = 4096


class Manager:
    """The other end of stdin and stdout."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def tell(self, **message: object) -> None:
        """One line out."""
        with contextlib.suppress(BrokenPipeError):
            os.write(1, json.dumps(message).encode() + b"\n")

    def hear(self) -> list[dict[str, Any]] | None:
        """The lines that have come; None at the end. Blocks when there is nothing to read."""
        data = os.read(0, 65536)
        if not data:
            return None
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        return [json.loads(line) for line in lines]


class Dialogue:
    """ssh on a pty of ours, and what is said there.

    Parameters:
        named: see `prompts.classify`.
        log: the descriptor for ssh's stdout.
    """

    def __init__(self, argv: list[str], named: bool, log: int, manager: Manager) -> None:
        import pexpect.fdpexpect  # here, so that the import of this module stays cheap

        self._named = named
        self._manager = manager
        self._terminal, self._process, self._exited = _launch(argv, log)
        self._spawn = pexpect.fdpexpect.fdspawn(
            self._terminal, encoding="utf-8", codec_errors="replace"
        )
        self._spawn.delaybeforesend = None
        self._gone = (pexpect.EOF, OSError)
        self._text = ""
        self._echoed = ""  # what we typed into an echo, and expect to read
        self._asking = False
        self._over = False
        self._over_at = 0.0

    def run(self) -> int:
        """Passes questions and answers on until ssh has exited; returns its exit status."""
        while True:
            sources = [self._terminal, self._exited, 0]
            ready, _, _ = select.select(sources, [], [], self._patience())
            if self._exited in ready:
                return self._process.wait()
            if self._over and time.monotonic() > self._over_at + _LAST_WORDS:
                self._signal(signal.SIGKILL)
            if 0 in ready:
                self._listen()
            if self._terminal in ready:
                # One read of whatever is there; classify() decides, not a regular expression
                # over a growing buffer that a server could grow for ever.
                try:
                    self._read(self._spawn.read_nonblocking(_PIECE, timeout=0))
                except self._gone:
                    return self._process.wait()
            elif not ready and not self._over:
                self._ask(self._prompt())

    def _patience(self) -> float | None:
        """Seconds of silence until the text counts as a whole question; None to wait on."""
        if self._over:
            return _LAST_WORDS
        if self._asking or not self._text.strip() or self._echoed.startswith(self._text):
            return None
        unknown, line = isinstance(self._prompt(), UnknownPrompt), self._text.endswith("\n")
        if unknown and line:
            return None  # somebody's words, which want no answer
        return _QUIET if unknown or line else _SETTLED

    def _prompt(self) -> Prompt:
        return classify(self._text, echo=self._echoes, named=self._named)

    def _read(self, piece: str) -> None:
        if self._over:
            return
        self._text += piece
        if self._echoed and self._text.startswith(self._echoed):
            self._text, self._echoed = self._text[len(self._echoed) :], ""
        if len(self._text) > _MAX_TEXT:
            self._refuse("endless output on the terminal")
        elif self._asking and piece.strip():
            self._refuse("the terminal changed while it was asked")
        self._take_notices()
        if not self._over and self._text.strip() and (prompt := self._prompt()).complete:
            self._ask(prompt)

    def _take_notices(self) -> None:
        """Whole lines are no question, but one kind of them wants something of a user."""
        while True:
            line, newline, rest = self._text.lstrip("\r\n").partition("\n")
            prompt = classify(line + newline, named=self._named)
            if prompt.wants_answer:
                return
            self._manager.tell(notice=prompt.text)
            self._text = rest

    def _ask(self, prompt: Prompt) -> None:
        if prompt.hidden:
            self._wait_for_echo_off()
        self._asking = True
        # All of the text, as it came: the manager judges for itself, and a part of what is no
        # prompt could read like one.
        self._manager.tell(ask=self._text, echo=self._echoes)

    def _refuse(self, why: str) -> None:
        self._manager.tell(ask=why, echo=True, refused=True)
        self.end()

    def _listen(self) -> None:
        messages = self._manager.hear()
        if messages is None:
            self.end()
            if not select.select([self._exited], [], [], _LAST_WORDS)[0]:
                self._signal(signal.SIGKILL)
            os._exit(1)
        for message in messages:
            self._answer(message["answer"], hidden=message.get("hidden", True))

    def _answer(self, answer: str | None, *, hidden: bool) -> None:
        if self._over or not self._asking:
            return
        echoes = self._echoes
        if answer is None or (hidden and echoes) or not can_be_typed(answer):
            self.end()
            return
        self._asking = False
        self._text = ""
        self._echoed = f"{answer}\r\n" if echoes else ""
        self._spawn.sendline(answer)

    @property
    def _echoes(self) -> bool:
        return bool(termios.tcgetattr(self._terminal)[3] & termios.ECHO)

    def _wait_for_echo_off(self) -> None:
        """Ssh switches the echo off just before it asks; an older one might do so just after."""
        deadline = time.monotonic() + _ECHO_PATIENCE
        while self._echoes and time.monotonic() < deadline:
            time.sleep(0.005)  # a terminal's flags have no event to wait for

    def end(self) -> None:
        """Ends ssh and whatever it started (a ProxyCommand)."""
        self._over, self._over_at = True, time.monotonic()
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _launch(argv: list[str], log: int) -> tuple[int, subprocess.Popen[bytes], int]:
    """Ssh with the pty as controlling terminal and nothing else on it. stderr is our own.

    Returns our end of the terminal, the process, and a pipe that ends when ssh has exited.

    The session on that terminal is led by this process, and ssh is the foreground group in it:
    so ssh's exit sends nobody a SIGHUP. Ours would: see `_close_after`.
    """
    terminal, slave = pty.openpty()
    for number in (signal.SIGHUP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    def in_child() -> None:
        # If this helper is killed, ssh gets a SIGHUP. Without it, it would read the end of the
        # terminal as an empty answer, and try that.
        os.setpgid(0, 0)
        os.tcsetpgrp(slave, os.getpid())
        for number in (signal.SIGHUP, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)

    # One thread so far: preexec_fn is safe here.
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=None,
        preexec_fn=in_child,
    )
    # ssh opens /dev/tty anew for each prompt: our slave keeps the terminal open in between.
    exited, exiting = os.pipe()
    threading.Thread(target=_close_after, args=(process, slave, exiting), daemon=True).start()
    return terminal, process, exited


def _close_after(process: subprocess.Popen[bytes], slave: int, exiting: int) -> None:
    """The terminal's own end says nothing: a ProxyCommand that lives on may have it open."""
    process.wait()
    # The terminal's end sends a SIGHUP to its foreground group. A ProxyCommand is in there, and
    # if it is an `ssh -S`, it obeys, ignored or not (mux.c: muxclient): so the group is ours now.
    with contextlib.suppress(OSError):
        os.tcsetpgrp(slave, os.getpgrp())
    os.close(slave)
    os.close(exiting)


def _harden() -> None:
    """No core dump of a process that passes secrets on; on Linux, no debugger either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        pr_set_dumpable = 4
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)


def main(task: dict[str, Any]) -> None:
    """Carries out one log-in."""
    sys.excepthook = lambda *_: os._exit(70)  # a traceback could show what was read or sent
    _harden()
    manager = Manager()
    status = Dialogue(task["argv"], task["named"], task["log"], manager).run()
    manager.tell(status=status)
    # Past this point the pty closes; the master has long left it.
    os._exit(0)
