"""The askpass: a small process of its own, in which pexpect answers ssh's terminal.

Why a process: giving ssh a terminal needs fork() and code in the child before exec(), which is
not safe in a host program with threads. This one has a single thread while it forks.

Why not a plain `pexpect.spawn`: that puts ssh's stdout and stderr on the terminal as well, and a
server's banner goes to stderr and can read exactly like a password prompt. Here only the
controlling terminal is the pty; the prompts are what is left on it.

It is told what to do by one JSON line on stdin (so a secret is in no argv and no environment), and
says what happened by one JSON line on stdout. The end of its stdin means that the manager is
gone or has given up: then ssh is ended too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass
from typing import Any

from .prompts import Prompt, UnknownPrompt, classify, takes_password

_QUIET = 1.0  # seconds of silence after which unfinished text counts as a prompt nobody knows
_ECHO_PATIENCE = 2.0  # seconds for ssh to switch the terminal's echo off before we decline
_MAX_TEXT = 64 * 1024  # of terminal output; more is no prompt


@dataclass
class Outcome:
    """How the dialogue ended."""

    status: int
    asked: str = ""  # the prompt that stopped it, if one did
    answered: int = 0


class Dialogue:
    """ssh on a pty of ours, and at most one password."""

    def __init__(self, argv: list[str], secret: str, who: list[str]) -> None:
        self._secret: str | None = secret
        self._expected = frozenset(who)
        self._terminal, self._process = _launch(argv)

    def run(self) -> Outcome:
        """Answers until ssh has exited."""
        import pexpect.fdpexpect  # here, so that the import of this module stays cheap

        spawn = pexpect.fdpexpect.fdspawn(self._terminal, encoding="utf-8", codec_errors="replace")
        spawn.delaybeforesend = None
        answered = 0
        text = ""
        while True:
            try:
                # One read of whatever is there; classify() decides, not a regular expression
                # over a growing buffer that a server could grow for ever.
                text += spawn.read_nonblocking(4096, timeout=_QUIET if text else None)
                quiet = False
            except pexpect.TIMEOUT:
                quiet = True
            except (pexpect.EOF, OSError):
                return Outcome(self._process.wait(), answered=answered)
            if len(text) > _MAX_TEXT:
                return self._decline(UnknownPrompt("endless output on the terminal"), answered)
            prompt = self._pending(text, quiet)
            if prompt is None:
                continue
            secret = self._answer(prompt)
            if secret is None:
                return self._decline(prompt, answered)
            spawn.sendline(secret)
            text = ""
            answered += 1

    def _pending(self, text: str, quiet: bool) -> Prompt | None:
        """The prompt that waits for an answer, if the text so far is one."""
        if not text.strip() or text.endswith("\n"):
            return None
        prompt = classify(text)
        return None if isinstance(prompt, UnknownPrompt) and not quiet else prompt

    def _answer(self, prompt: Prompt) -> str | None:
        """The password, once, for the prompt that it is for."""
        if not takes_password(prompt, self._expected) or not _echo_off(self._terminal):
            return None
        secret, self._secret = self._secret, None
        return secret

    def _decline(self, prompt: Prompt, answered: int) -> Outcome:
        self.end()
        return Outcome(self._process.wait(), asked=prompt.text, answered=answered)

    def end(self) -> None:
        """Ends ssh and whatever it started (a ProxyCommand)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)


def _launch(argv: list[str]) -> tuple[int, subprocess.Popen[bytes]]:
    """Ssh with the pty as controlling terminal and nothing else on it. stderr is our own."""
    terminal, slave = pty.openpty()

    def in_child() -> None:
        # The master that ssh becomes must survive the end of this terminal, and so must a
        # ProxyJump child, which stays in this session: SIGHUP is ignored from the start.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    # One thread so far: preexec_fn is safe here.
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None,
        start_new_session=True,
        pass_fds=(slave,),
        preexec_fn=in_child,
    )
    # ssh closes what it inherits and opens /dev/tty anew for each prompt, so this is what keeps
    # the terminal open between prompts; closing it is how the dialogue sees the end.
    threading.Thread(target=_close_after, args=(process, slave), daemon=True).start()
    return terminal, process


def _close_after(process: subprocess.Popen[bytes], slave: int) -> None:
    process.wait()
    os.close(slave)


def _echo_off(terminal: int) -> bool:
    """Whether ssh reads without echo. It switches the echo off just before or after it asks."""
    deadline = time.monotonic() + _ECHO_PATIENCE
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)  # a terminal's flags have no event to wait for
    return True


def _harden() -> None:
    """No core dump of a process that holds a secret; on Linux, no debugger either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        pr_set_dumpable = 4
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)


def _end_with_manager(dialogue: Dialogue) -> None:
    """Reads stdin to its end, which comes when the manager dies or gives up."""
    while os.read(0, 4096):
        pass
    dialogue.end()
    os._exit(1)


def main(task: dict[str, Any]) -> None:
    """Carries out one log-in."""
    sys.excepthook = lambda *_: os._exit(70)  # a traceback could show what was read or sent
    _harden()
    dialogue = Dialogue(task["argv"], task.pop("secret"), task["who"])
    threading.Thread(target=_end_with_manager, args=(dialogue,), daemon=True).start()
    outcome = dialogue.run()
    answer = {"status": outcome.status, "asked": outcome.asked, "answered": outcome.answered}
    os.write(1, json.dumps(answer).encode() + b"\n")
    # Past this point the pty closes; the master has long left it.
    os._exit(0)
