"""What of the account and its session reaches the tests: nothing. The one place for it.

Tests run as whoever runs them, but not with that user's home, agent, keyring, locale, desktop,
ssh_config or settings of programs: these differ between machines, and a test must neither depend
on them nor change them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# What a session, a desktop or a profile sets. Whoever needs one of these sets it in the test.
_FOREIGN = (
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_CONNECTION"),
    *("SSH_CLIENT", "SSH_TTY", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "KRB5CCNAME"),
    *("DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL", "XDG_RUNTIME_DIR", "XDG_SESSION_ID"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"),
    *("SSHMUX_DIR", "SSHMUX_STORE"),
    *("BASH_ENV", "ENV", "CDPATH", "IFS", "SHELLOPTS", "BASHOPTS", "ZDOTDIR", "POSIXLY_CORRECT"),
    *("TAR_OPTIONS", "GREP_OPTIONS", "GREP_COLOR", "RSYNC_RSH", "RSYNC_OLD_ARGS", "GZIP"),
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PAGER", "TERMINFO"),
    *(
        "LC_ALL",
        "LANGUAGE",
        "PYTHONIOENCODING",
        "PYTHONUTF8",
        "PYTHONWARNINGS",
        "PYTHONASYNCIODEBUG",
    ),
)
_LONGEST_TEMPORARY = 24  # of a socket's path some 90 bytes are ours to use, tests take 60
_MADE = "SSHMUX_TESTS_HOME"  # by pytest's own process, for the workers of xdist too


def isolate() -> None:
    """Makes this process, and what it starts, independent of the account's settings."""
    if _MADE in os.environ:  # a worker: the first process has done it
        return
    for name in [*_FOREIGN, *(name for name in os.environ if name.startswith("LC_"))]:
        os.environ.pop(name, None)
    os.environ.update(LANG="C.UTF-8", TERM="xterm", TZ="UTC")
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    if len(os.environ.get("TMPDIR", "")) > _LONGEST_TEMPORARY:
        del os.environ["TMPDIR"]
    os.umask(0o022)
    _hear_signals()
    home = Path(tempfile.mkdtemp(prefix="sshmux-tests-")).resolve()
    os.environ["HOME"] = os.environ[_MADE] = os.fspath(home)
    (home / ".ssh").mkdir(mode=0o700)
    if os.path.exists(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".ssh", "config")):
        _hide_ssh_config(home)


def clean_up() -> None:
    """Removes what `isolate` made; a worker leaves that to the first process."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (home := os.environ.pop(_MADE, None)):
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def skipping() -> Iterator[None]:
    """A server that cannot be had here for want of a package is no failure: the reason names it."""
    from sshmux.testing import SshdMissing, WrapperMissing

    try:
        yield
    except (SshdMissing, WrapperMissing) as error:
        pytest.skip(str(error))
    except BaseExceptionGroup as group:
        missing, other = group.split((SshdMissing, WrapperMissing))
        if other is not None or missing is None:
            raise
        pytest.skip(str(_first(missing)))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def plain_shells() -> None:
    """Without nss_wrapper, a server that is to have /bin/sh gets the account's shell.

    It is what most tests ask for, and any POSIX shell does. Other shells are `WrapperMissing`.
    """
    from sshmux.testing import WrapperMissing, programs, sshd

    own = pwd.getpwuid(os.getuid()).pw_shell
    try:
        programs.find_wrapper("nss_wrapper")
    except WrapperMissing:
        if os.path.basename(own) in ("sh", "bash", "dash", "ksh"):
            prepare = sshd.Sshd._prepare_login

            def prepare_login(server: sshd.Sshd) -> None:
                if str(server._options.login_shell) == "/bin/sh":
                    server._options = dataclasses.replace(server._options, login_shell=None)
                prepare(server)

            sshd.Sshd._prepare_login = prepare_login  # type: ignore[method-assign]


def _hear_signals() -> None:
    """nohup and a shell's `&` make a program ignore these, and its children inherit that."""
    for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _hide_ssh_config(home: Path) -> None:
    """Puts an `ssh` first on PATH that reads another configuration than the account's.

    ssh takes the home directory from the password database, not from $HOME. A later -F wins.
    """
    real = shutil.which("ssh")
    if real is None:
        return
    config, wrapper = home / ".ssh" / "config", home / "bin" / "ssh"
    config.write_text(f"UserKnownHostsFile {home}/.ssh/known_hosts\n")
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -F {shlex.quote(str(config))} "$@"\n')
    wrapper.chmod(0o755)
    os.environ["PATH"] = f"{wrapper.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
