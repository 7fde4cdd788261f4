"""The hands of the pool: what `slots.py` decides is carried out here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..config import PoolConfig
from ..errors import AcquireTimeout, ConnectionLost, Error, fresh_copy
from ..login.dialler import Dialler, DialNotWanted
from ..session.link import Link
from ..system.clock import now
from ..system.deadline import Deadline
from ..system.identity import in_words
from ..system.tasks import TaskGroup, run_to_end
from ..text import logger
from .borrow import Borrow, Waiting
from .events import Event, Events, State
from .guests import guests
from .slots import PooledConnection, Slots
from .stats import Counters, describe, metrics

log = logger("sshmux.pool")

_HOLD_OFF = 5.0  # seconds without new dials after one failed while other connections live
_TOUCH_EVERY = 1.0  # seconds between two notes in the directory that a connection is in use
_LEAVES = 15.0  # seconds for the process of a lost master to end, or to be ended
_TIMER_SLACK = 0.005  # seconds, so that a timer finds its deadline passed

Member = PooledConnection[Link]


class Pool:
    """The masters of one cluster.

    Parameters:
        care: whether the manager's background care is on (timers for age, idleness, leaks).
    """

    def __init__(
        self,
        cluster_id: Hashable,
        config: PoolConfig,
        dialler: Dialler,
        events: Events,
        *,
        care: bool,
    ) -> None:
        self.cluster_id = cluster_id
        self.config = config
        self.dialler = dialler
        self.slots: Slots[Link] = Slots(config)
        self.counters = Counters()
        self.loop = asyncio.get_running_loop()
        self.care = care
        self._events = events
        self._closed: Callable[[], Exception] | None = None
        self._dials = TaskGroup()
        self._endings = TaskGroup()
        self._borrows: set[Borrow] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._leak_timer: asyncio.TimerHandle | None = None
        self._hold_until = 0.0
        self._in_doubt = False
        self._deadlines: set[Deadline] = set()  # of those who wait
        dialler.watch(self._asking)

    def __repr__(self) -> str:
        return f"<Pool {self.cluster_id!r} {self.slots!r}>"

    # Borrowing

    def take(self) -> Member | None:
        """A connection that is free now, without waiting."""
        if self._closed is not None:
            raise self._closed()
        self.counters.requests += 1
        return self.slots.take(now())

    async def wait(self, timeout: float | None) -> Member:
        """Waits for a connection, first come, first served. A user's time does not count."""
        started = now()
        waiting = Waiting(self.loop)
        self.slots.waiters.append(waiting)
        self.dispatch()
        deadline = Deadline(timeout)
        if self.dialler.asking:
            deadline.stop()
        self._deadlines.add(deadline)
        try:
            async with deadline.enforced():
                return await waiting.future
        except BaseException as error:
            self._withdraw(waiting)
            if not self.slots.waiters and self.dialler.asking:
                await run_to_end(self._dials.cancel)  # nobody wants to know any more
            if isinstance(error, TimeoutError) and not isinstance(error, Error):
                self.counters.requests_timed_out += 1
                raise self._acquire_timeout(timeout) from None
            self.counters.requests_failed += 1
            raise
        finally:
            self._deadlines.discard(deadline)
            self.counters.waited(now() - started)

    def _asking(self, begins: bool) -> None:
        """A user is asked for this cluster's log-in, or not any more."""
        for deadline in self._deadlines:
            if begins:
                deadline.stop()
            else:
                deadline.go_on()

    def _withdraw(self, waiting: Waiting) -> None:
        """Undoes a wait that ends without its connection being used."""
        member = waiting.withdraw()
        if member is not None:
            self.give_back(member)
        elif waiting in self.slots.waiters:
            self.slots.waiters.remove(waiting)

    def _acquire_timeout(self, timeout: float | None) -> AcquireTimeout:
        return AcquireTimeout(
            f"no connection to {self.dialler.config.address} became free within {timeout:g} s "
            f"({self.slots!r}): raise pool_size= or acquire_timeout=, or hold connections shorter"
        )

    def borrowed(self, borrow: Borrow) -> None:
        """A borrow begins."""
        self._borrows.add(borrow)
        if self.care and self.config.leak_threshold is not None and self._leak_timer is None:
            self._leak_timer = self.loop.call_later(self.config.leak_threshold, self._warn_leaks)

    def returned(self, borrow: Borrow, member: Member) -> None:
        """A borrow ends."""
        self._borrows.discard(borrow)
        self.counters.usage_seconds += now() - borrow.since
        self.give_back(member)

    def give_back(self, member: Member) -> None:
        """The connection is free again, unless it has to leave."""
        if member.state is State.CLOSED:
            return
        at = now()
        if at - member.last_used > _TOUCH_EVERY:
            member.connection.master.touch()
        member.mark_available(at)
        self.settle(member, at)

    def settle(self, member: Member, at: float) -> None:
        """Somebody has left it: the next one may have the place, or it leaves the pool."""
        if self._closed is not None:
            return
        if not member.is_busy and (why := self.slots.overdue(member, at)):
            stale = member.connection.usable and member.health_check_failures == 0
            self._retire(member, State.STALE if stale else State.UNHEALTHY, why)
        if self.slots.waiters:
            self.dispatch()
        self._watch_expiry()

    def guests(self, link: Link, most: int) -> AbstractContextManager[Sequence[Link]]:
        """Idle connections that help with a transfer: see `Helpers`."""
        return guests(self, link, most)

    # Dialling

    def dispatch(self) -> None:
        """Lends what is free, starts the dials that are wanted, drops what is dead."""
        if self._closed is not None:
            return
        for member in self.slots.unusable():
            if not member.is_busy:
                self._retire(member, State.UNHEALTHY, "its control socket is gone")
        self.slots.hand_over(now())
        if refused := self.dialler.refused:
            self._give_up_if_hopeless(refused)
            return
        if self._hold_until > now() and self._may_come_back:
            return
        if self._in_doubt and self.slots.dialling:
            return  # one log-in failed: the others under way tell whether the cluster is there
        wanted = self.slots.dials_wanted(self.dialler.most_masters, self.dialler.most_dials)
        for _ in range(wanted):
            self._start_dial()

    def _start_dial(self) -> None:
        slot = self.slots.reserve()
        self._dials.start(self._dial(slot))

    async def _dial(self, slot: int) -> None:
        started = now()
        self.counters.dials += 1
        try:
            link = await self.dialler.dial(str(slot), wanted=self._wanted)
        except DialNotWanted:
            self.counters.dials -= 1
            self.slots.failed()
            self.dispatch()
            return
        except BaseException as error:
            self.slots.failed()
            if not isinstance(error, Exception):
                raise
            self._dial_failed(slot, error)
            return
        self.counters.dial_seconds += now() - started
        member: Member = PooledConnection(
            link,
            self.cluster_id,
            now(),
            now(),
            slot=slot,
            interactive_login=link.master.interactive_login or self.dialler.config.dial == "never",
            observer=self._observe,
        )
        self._observe(member, None, State.CREATED, "dialled")
        self.slots.dialled(member)
        link.master.on_lost(lambda: self._lost(member))
        self._hold_until = 0.0
        self._in_doubt = False
        self.slots.hand_over(now())
        if not member.in_use and member.state is State.CREATED:
            member.move(State.AVAILABLE, "nobody waits")
        if not link.master.alive:  # it died between its first words and on_lost
            self._lost(member)
        self.dispatch()
        self._watch_expiry()

    def _wanted(self) -> bool:
        """Whether one more is allowed, now that more is known of this cluster."""
        return len(self.slots.members) < self.dialler.most_masters

    def _dial_failed(self, slot: int, error: Exception) -> None:
        self.counters.dial_failures += 1
        self._in_doubt = not self.slots.members
        self._events.emit(
            Event(self.cluster_id, slot, None, None, f"the log-in failed: {error}", now(), error)
        )
        self._give_up_if_hopeless(error)
        if self.slots.waiters and self._may_come_back:
            log.warning("%s; waiting for a connection in use to come back", error)
            self._hold_until = now() + _HOLD_OFF
            self.loop.call_later(_HOLD_OFF + _TIMER_SLACK, self.dispatch)
        self.dispatch()

    @property
    def _may_come_back(self) -> bool:
        """Whether a connection in use can be lent again when it is given back."""
        return any(member.connection.usable for member in self.slots.members)

    def _give_up_if_hopeless(self, error: Exception) -> None:
        """Nothing lives, nothing is on its way: whoever waits would meet the same error."""
        if not self.slots.members and not self.slots.dialling:
            self._in_doubt = False
            self.slots.fail_waiters(lambda: fresh_copy(error))

    # Endings

    def _lost(self, member: Member) -> None:
        """The lease says that the master is dead; idle or lent, it leaves the pool at once."""
        if not self.slots.remove(member):
            return
        self.counters.lost += 1
        member.move(State.CLOSED, "the master is gone")
        self._endings.start(member.connection.close_lost())  # removes socket and record
        # Only its lease is known to be gone: its process counts until it is.
        self.slots.closing += 1
        self._endings.start(self._leaves(member))

    async def _leaves(self, member: Member) -> None:
        try:
            await member.connection.master.gone(_LEAVES)
        finally:
            self.slots.closing -= 1
            self.dispatch()

    def _retire(self, member: Member, state: State, reason: str) -> None:
        if not self.slots.remove(member):
            return
        if state is State.STALE:
            self.counters.expired += 1
        else:
            self.counters.unhealthy += 1
        member.move(state, reason)
        self.slots.closing += 1
        leave = None if state is State.STALE else False
        self._endings.start(self._close_member(member, leave=leave))

    async def _close_member(self, member: Member, **how: Any) -> None:
        try:
            await member.connection.close(**how)
        finally:
            self.slots.closing -= 1
            member.move(State.CLOSED, "closed")
            self.dispatch()

    async def disconnect(self) -> None:
        """Closes everything there is now, dials and waits included. The pool can be used on."""
        for member in self.slots.members:
            if others := member.connection.master.others:
                name = member.connection.master.entry.name
                log.warning("%s stays: %s use it, too", name, in_words(others))
        await self._clear(
            lambda: ConnectionLost(f"disconnect() closed {self.dialler.config.address}"),
            drain=0,
            leave=False,
        )

    async def close(
        self, error: Callable[[], Exception], *, drain: float, leave: bool | None
    ) -> None:
        """Closes the pool for good.

        Parameters:
            error: what borrowers get from now on.
            drain: seconds that running commands may still have.
            leave: let healthy masters live on, to be adopted: see `Link.close`.
        """
        self._closed = error
        for timer in (self._expiry, self._leak_timer):
            if timer is not None:
                timer.cancel()
        await self._clear(error, drain=drain, leave=leave)
        self.dialler.facts.forget()

    async def _clear(
        self, error: Callable[[], Exception], *, drain: float, leave: bool | None
    ) -> None:
        self.slots.fail_waiters(error)
        await self._dials.cancel()
        for member in tuple(self.slots.members):
            self.slots.remove(member)
            self.slots.closing += 1
            self._endings.start(self._close_member(member, drain=drain, error=error(), leave=leave))
        await self._endings.wait()

    def abandon(self, *, end: bool = False) -> None:
        """Lets everything go without a loop to do it in: see `Master.abandon`."""
        for member in self.slots.members:
            member.connection.master.abandon(end=end)
        self.slots.members.clear()

    # Care

    def metrics(self) -> dict[str, Any]:
        """The figures."""
        self.counters.adopted = self.dialler.adopted
        at = now()
        figures = metrics(self.slots, self.counters, at)
        figures["connections"] = [describe(member, at) for member in self.slots.members]
        return figures

    def _watch_expiry(self) -> None:
        """One timer for the pool, set for the earliest expiry known; re-set when it fires."""
        if not self.care or self._expiry is not None or self._closed is not None:
            return
        at = self.slots.next_expiry()
        if at is not None:
            delay = max(0.0, at - now()) + _TIMER_SLACK
            self._expiry = self.loop.call_later(delay, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        for expired in self.slots.expired(now()):
            self._retire(expired.member, expired.state, expired.reason)
        self._watch_expiry()

    def check_failed(self, member: Member, error: Exception) -> None:
        """A health check failed."""
        self.counters.health_check_failures += 1
        member.health_check_failures += 1
        log.info("health check of slot %d of %r failed: %s", member.slot, self.cluster_id, error)
        if member.health_check_failures < self.config.max_health_failures or member.is_busy:
            return
        if member in self.slots.members:
            member.connection.retire("it failed its health checks")
            # For those who use this pool; one that nobody has used since is not made again, or a
            # host that lets in and then hangs is logged in to for ever. A user is asked when
            # somebody wants the connection.
            if member.uses > 0 and not member.interactive_login:
                self.slots.replacing += 1
            self._retire(member, State.UNHEALTHY, f"{member.health_check_failures} failed checks")

    def _warn_leaks(self) -> None:
        self._leak_timer = None
        threshold = self.config.leak_threshold
        if threshold is None:
            return
        at = now()
        for borrow in self._borrows:
            if not borrow.warned and at - borrow.since >= threshold:
                borrow.warned = True
                self.counters.leaks += 1
                log.warning(
                    "a connection to %r has been kept for %.0f s (leak_threshold=%g)%s. Borrowed "
                    "at:\n%s",
                    self.cluster_id,
                    at - borrow.since,
                    threshold,
                    self._deadlock(borrow),
                    borrow.stack(),
                )
        waiting = [borrow.since for borrow in self._borrows if not borrow.warned]
        if waiting and self._closed is None:
            delay = max(0.0, min(waiting) + threshold - at) + _TIMER_SLACK
            self._leak_timer = self.loop.call_later(delay, self._warn_leaks)

    def _deadlock(self, borrow: Borrow) -> str:
        """What is to be said of a task that keeps a connection, and waits for another one."""
        waiting = any(getattr(each, "task", None) is borrow.task for each in self.slots.waiters)
        if not waiting or borrow.task is None:
            return ""
        return (
            f", and the same task ({borrow.task.get_name()}) waits for another one: where all are "
            f"kept so, that is a deadlock (pool_size={self.config.pool_size}). Give the first one "
            "back before, use it for both, or raise pool_size="
        )

    def _observe(self, member: Member, old: State | None, new: State, reason: str) -> None:
        if self._events.wanted:
            self._events.emit(Event(self.cluster_id, member.slot, old, new, reason, now()))
