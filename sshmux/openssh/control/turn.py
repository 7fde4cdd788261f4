"""Whose turn it is to log in: of two programs that want the same, one does, and the other waits.

    .login.DIGEST.lock    locked (flock) by whoever logs in; says which process that is
    .login.DIGEST.sock    where those who wait are told what happens

The kernel ends the lock and the connections with the process, so a program that is killed keeps
nobody waiting; and nobody waits for one that is stopped. Each line on the socket is a JSON object:
`{"asking": true}` while a user is asked, and at the end `{"refused": "why"}` if the server said no,
so that it is not asked the same again by each.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ...errors import PermissionDenied
from ...system.clock import now
from ...system.forking import forget_in_child
from ...system.identity import ProcessId
from ...system.peer import check_peer
from ...text import cleaned, logger
from . import naming
from .entry import read_private
from .holders import leads_to, open_lock
from .record import identity_in, own_identity_text

log = logger("sshmux.dial")

_LOOK = 2.0  # seconds between looks whether the program that logs in was stopped
_MOMENT = 0.02  # seconds: it has the lock, and does not listen yet, or any more
_WAITERS = 128
_LONGEST = 16 * 1024  # bytes of what is told
_LONGEST_WHY = 2000  # characters
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # SIGPIPE may end this program


class LoginTurn:
    """One log-in's turn, among all programs of this user: `take` waits for it, `end` passes it on.

    Parameters:
        directory: the control directory.
        digest: what makes two log-ins the same: see `dial.digest`.
        on_asking: called with True when the user of another program begins to be asked for it,
            and with False afterwards.
    """

    def __init__(
        self, directory: Path, digest: str, on_asking: Callable[[bool], object] = bool
    ) -> None:
        name = naming.turn_name(digest)
        self._lock_path = directory / f"{name}.lock"
        self._socket_path = directory / f"{name}.sock"
        self._on_asking = on_asking
        self._lock = -1
        self._listener: socket.socket | None = None
        self._waiters: list[socket.socket] = []
        self._asking = False
        self._refused: str | None = None
        forget_in_child(self)

    async def take(self, patience: float) -> bool:
        """Waits until it is our turn, for at most `patience` seconds in which no user is asked.

        After that, or when the other one was stopped, or where nothing can be locked, there is no
        turn: who asked goes on without. Returns whether there was another one to wait for.

        Raises `PermissionDenied` when the server has refused the other program meanwhile.
        """
        waited = False
        while not self._try():
            waited = True
            holder = self._holder()
            began = now()
            refused, asked = await self._wait_for(holder, patience)
            if refused is not None:
                raise PermissionDenied(refused)
            patience -= max(_MOMENT, now() - began - asked)
            if patience <= 0 or (holder is not None and holder.stopped):
                log.warning("pid %s keeps its log-in: not waited for", holder and holder.pid)
                break
        return waited

    def asking(self, begins: bool) -> None:
        """Tells those who wait that a user is asked, or not any more."""
        self._asking = begins
        self._tell_all({"asking": begins})

    def refused(self, why: str) -> None:
        """Those who wait are told that the server said no."""
        self._refused = why[:_LONGEST_WHY]

    def end(self) -> None:
        """The next one's turn. May be called twice."""
        if self._listener is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                asyncio.get_running_loop().remove_reader(self._listener)
            self._accept()  # whoever is at the door is told as well
            if self._refused is not None:
                self._tell_all({"refused": self._refused})
            with contextlib.suppress(OSError):
                self._socket_path.unlink()
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
        self.forget()

    def forget(self) -> None:
        """In a forked child: closes its copies, without a word."""
        for waiter in self._waiters:
            waiter.close()
        self._waiters.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Our turn

    def _try(self) -> bool:
        """Whether it is our turn now, or there can be none."""
        descriptor = open_lock(self._lock_path, os.O_CREAT)
        if descriptor < 0:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:  # a file system without locks
            log.info("no turn can be taken: %s", error.strerror)
            os.close(descriptor)
            return True
        if not leads_to(descriptor, self._lock_path):
            os.close(descriptor)  # whose turn it was has removed it
            return False
        self._lock = descriptor
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, own_identity_text().encode())
            self._listen()
        return True

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._socket_path.unlink()  # of one that was killed
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            listener.bind(os.fspath(self._socket_path))
            listener.listen(_WAITERS)
            asyncio.get_running_loop().add_reader(listener, self._accept)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                waiter, _ = self._listener.accept()
            except OSError:
                return
            waiter.setblocking(False)
            self._waiters.append(waiter)
            if self._asking:
                _tell(waiter, {"asking": True})

    def _tell_all(self, news: dict[str, object]) -> None:
        for waiter in self._waiters:
            _tell(waiter, news)

    # Another's turn

    def _holder(self) -> ProcessId | None:
        """Which process has the turn, as it has written down itself."""
        return identity_in(read_private(self._lock_path))

    async def _wait_for(
        self, holder: ProcessId | None, patience: float
    ) -> tuple[str | None, float]:
        """Waits for the end of another's turn.

        Returns why the server refused it, if it did, and for how many seconds a user was asked.
        """
        news = _News(self._on_asking)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            try:
                connection.connect(os.fspath(self._socket_path))
                check_peer(connection, os.fspath(self._socket_path))
            except OSError:
                await asyncio.sleep(_MOMENT)  # there is no event for its beginning to listen
                return None, 0.0
            log.info("waiting for pid %s, which logs in there already", holder and holder.pid)
            await self._hear(connection, news, holder, patience)
            return news.refused, news.asked
        finally:
            news.close()
            connection.close()

    async def _hear(
        self,
        connection: socket.socket,
        news: _News,
        holder: ProcessId | None,
        patience: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        ends = now() + patience
        while now() - news.asked < ends and not (holder is not None and holder.stopped):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    try:
                        data = await loop.sock_recv(connection, _LONGEST)
                    except OSError:
                        return
                    if not data or not news.hear(data):
                        return


class _News:
    """What is told to one who waits."""

    def __init__(self, on_asking: Callable[[bool], object]) -> None:
        self.refused: str | None = None
        self._on_asking = on_asking
        self._heard = b""
        self._asked = 0.0
        self._asking_since: float | None = None

    @property
    def asked(self) -> float:
        """Seconds for which a user was asked."""
        since = self._asking_since
        return self._asked + (now() - since if since is not None else 0.0)

    def hear(self, data: bytes) -> bool:
        """Takes what has come; whether it makes sense."""
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
                asking, refused = said.get("asking"), said.get("refused")
            except (ValueError, AttributeError, RecursionError):
                return False
            if isinstance(asking, bool):
                self._asks(asking)
            if isinstance(refused, str):
                self.refused = cleaned(refused)
        return len(self._heard) <= _LONGEST

    def close(self) -> None:
        """Nobody is asked any more, as far as is known."""
        self._asks(False)

    def _asks(self, begins: bool) -> None:
        if begins is (self._asking_since is not None):
            return
        self._asked, self._asking_since = self.asked, now() if begins else None
        self._on_asking(begins)


def _tell(waiter: socket.socket, news: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # it has gone, or does not read
        waiter.send(json.dumps(news).encode() + b"\n", _NO_SIGNAL)
