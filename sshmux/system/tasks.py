"""Work in the background: tasks that are waited for in the end, threads that never are."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import ProcessLimit
from ..text import logger
from .forking import forget_in_child

T = TypeVar("T")

log = logger("sshmux")


class TaskGroup:
    """Background tasks of one owner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts a task; an error that nobody reads is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def cancel(self) -> None:
        """Cancels all of them and waits until they are gone."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    async def wait(self) -> None:
        """Waits until all are done, those started meanwhile included."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed", exc_info=error)


_TRIES = 3  # of something that has to be finished, and is cancelled itself


async def run_to_end(start: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Runs to its end, whatever cancellations reach the caller meanwhile; then passes them on.

    Parameters:
        start: makes the coroutine. At the end of `asyncio.run` every task is cancelled, the one
            in here too; then it is started once more, so it must not mind being done twice.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # the loop has ended around us: there is nobody to finish it
    cancelled: asyncio.CancelledError | None = None
    for _ in range(_TRIES):
        task = asyncio.ensure_future(start())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                cancelled = error
        if not task.cancelled():
            break
    if cancelled is not None:
        raise cancelled
    task.result()


def settle(future: asyncio.Future[None]) -> None:
    """Says that it has happened, unless nobody waits any more."""
    if not future.done():
        future.set_result(None)


class Threads:
    """Does what may block in daemon threads, that are there while there is work, and a little on.

    Parameters:
        most: how many threads. With one, one thing is done after the other.
        linger: seconds that a thread waits for more work.
    """

    def __init__(self, most: int = 1, linger: float = 0) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._most = most
        self._linger = linger
        self._threads = self._idle = 0
        self._changed = threading.Condition()
        forget_in_child(self)

    def forget(self) -> None:
        """In a forked child: the threads are the parent's."""
        self._waiting.clear()
        self._threads = self._idle = 0
        self._changed = threading.Condition()

    async def run(self, function: Callable[[], T]) -> T:
        """Does it, and waits for what comes of it. Cancelled, it is done all the same."""
        return await asyncio.wrap_future(self.submit(function))

    def submit(self, function: Callable[[], T]) -> concurrent.futures.Future[T]:
        """Does it when all that was submitted before is begun; the future has what comes of it.

        Raises `ProcessLimit` if no thread can be started, and none is there.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        with self._changed:
            self._waiting.append(work)
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif self._threads < self._most:
                self._start(work)
        return future

    def _start(self, work: Callable[[], None]) -> None:
        self._threads += 1
        try:
            in_daemon_thread(self._work)
        except RuntimeError as error:
            self._threads -= 1
            if self._threads:
                return  # those that are there will do it
            self._waiting.remove(work)
            raise ProcessLimit(
                f"the system starts no more threads: {error} (ulimit -u, a control group's limit, "
                "or no memory)"
            ) from None

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and self._linger:
                    self._idle += 1
                    self._changed.wait_for(lambda: self._waiting, self._linger)
                    self._idle -= 1
                if not self._waiting:
                    self._threads -= 1
                    return
                work = self._waiting.popleft()
            work()


def in_daemon_thread(function: Callable[[], object]) -> threading.Thread:
    """Starts a thread that never keeps the program from ending, whatever it hangs on."""
    thread = threading.Thread(target=function, daemon=True, name="sshmux")
    thread.start()
    return thread
