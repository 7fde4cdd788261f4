"""The book of one pool: each rule by itself, then any history of a pool at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from sshmux.config import PoolConfig
from sshmux.pool.events import State
from sshmux.pool.slots import PooledConnection, Slots


@dataclass
class Link:
    """A connection, as far as the book is concerned."""

    usable: bool = True


Member = PooledConnection[Link]


@dataclass(eq=False)
class Waiter:
    """Somebody in the queue, who may have been cancelled without having left it yet."""

    number: int = 0
    gone: bool = False
    got: Member | None = None
    error: Exception | None = None
    served: list[Waiter] = field(default_factory=list, repr=False)
    check: Callable[[Member], None] = field(default=lambda _: None, repr=False)

    def offer(self, member: Member) -> bool:
        if self.gone:
            return False
        assert self.got is None
        self.check(member)
        self.got = member
        self.served.append(self)
        return True

    def fail(self, error: Exception) -> None:
        self.error = error


def member(slot: int = 1, *, at: float = 0.0, last_used: float | None = None) -> Member:
    found = PooledConnection(Link(), "hpc", at, at if last_used is None else last_used, slot=slot)
    found.move(State.AVAILABLE, "for a test")
    return found


def slots(size: int = 2, *members: Member, **more: float) -> Slots[Link]:
    book: Slots[Link] = Slots(PoolConfig(pool_size=size, **more))  # type: ignore[arg-type]
    for each in members:
        book.reserve()
        book.dialled(each)
        each.age_jitter = 0
    return book


# One connection

ALLOWED = {
    State.CREATED: {State.IN_USE, State.AVAILABLE, State.CLOSED},
    State.IN_USE: {State.AVAILABLE, State.UNHEALTHY, State.STALE, State.CLOSED},
    State.AVAILABLE: {State.IN_USE, State.STALE, State.UNHEALTHY, State.CLOSED},
    State.STALE: {State.CLOSED},
    State.UNHEALTHY: {State.CLOSED},
    State.CLOSED: set(),
}


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_transitions(old: State, new: State) -> None:
    seen: list[tuple[State, State, str]] = []
    one: Member = PooledConnection(
        Link(), "hpc", observer=lambda _, was, now, why: seen.append((was, now, why))
    )
    one.state = old
    if new in ALLOWED[old]:
        one.move(new, "because")
        assert one.state is new
        assert seen == [(old, new, "because")]
    else:
        with pytest.raises(ValueError, match=f"cannot go from {old.value} to {new.value}"):
            one.move(new, "because")
        assert one.state is old
        assert seen == []


def test_the_fields_that_people_know() -> None:
    link = Link()
    one = PooledConnection(link, 7, 100.0, 200.0, False, 2)
    assert (one.connection, one.cluster_id, one.created_at, one.last_used) == (link, 7, 100, 200)
    assert (one.in_use, one.health_check_failures, one.state) == (False, 2, State.CREATED)
    assert PooledConnection(link, 7, in_use=True).state is State.IN_USE


def test_borrowed_and_given_back() -> None:
    one = PooledConnection(Link(), "hpc", 0.0, 0.0)
    one.mark_used(5)
    assert (one.in_use, one.state, one.last_used, one.uses) == (True, State.IN_USE, 5, 1)
    one.mark_used(6)
    one.mark_available(7)
    assert (one.in_use, one.state, one.borrowers) == (True, State.IN_USE, 1)
    one.mark_available(8)
    assert (one.in_use, one.state, one.borrowers) == (False, State.AVAILABLE, 0)
    assert (one.last_used, one.uses) == (8, 2)


def test_given_back_once_too_often_harms_nothing() -> None:
    one = member()
    one.mark_available(1)
    assert (one.borrowers, one.in_use, one.state) == (0, False, State.AVAILABLE)


def test_given_back_after_it_had_to_leave_it_does_not_come_back() -> None:
    one = member()
    one.mark_used(1)
    one.move(State.CLOSED, "lost")
    one.mark_available(2)
    assert (one.state, one.in_use) == (State.CLOSED, False)


def test_age_and_idleness() -> None:
    one = PooledConnection(Link(), "hpc", 100.0, 150.0)
    assert not one.is_stale(10, 110)
    assert one.is_stale(10, 110.1)
    assert not one.is_idle_too_long(10, 160)
    assert one.is_idle_too_long(10, 160.1)
    one.mark_used(160)
    assert not one.is_idle_too_long(10, 1000)


def test_now_is_the_default_time() -> None:
    one = PooledConnection(Link(), "hpc")
    assert not one.is_stale(3600)
    assert not one.is_idle_too_long(300)
    one.created_at -= 4000
    one.last_used -= 4000
    assert one.is_stale(3600)
    assert one.is_idle_too_long(300)


@pytest.mark.parametrize("state", State)
def test_is_closed(state: State) -> None:
    one = PooledConnection(Link(), "hpc")
    one.state = state
    assert one.is_closed is (state in (State.STALE, State.UNHEALTHY, State.CLOSED))


# Lending


def test_the_least_busy_is_lent_first_then_the_one_used_last() -> None:
    old, new = member(1, last_used=10), member(2, last_used=20)
    book = slots(2, old, new, sessions_per_connection=2)
    assert book.take(30) is new
    assert book.take(31) is old
    assert book.take(32) is old  # both have one borrower; `old` was used last
    assert book.take(33) is new
    assert book.take(34) is None


def test_what_cannot_be_used_is_not_lent() -> None:
    dead, leaving = member(1), member(2)
    dead.connection.usable = False
    leaving.move(State.STALE, "old")
    book = slots(2, dead, leaving)
    assert book.lendable() is None
    assert book.unusable() == [dead]


def test_nobody_jumps_the_queue() -> None:
    book = slots(1, member())
    book.waiters.append(Waiter())
    assert book.take(1) is None


def test_waiters_are_served_in_their_order() -> None:
    book = slots(2)
    first, second, third = Waiter(1), Waiter(2), Waiter(3)
    book.waiters.extend([first, second, third])
    one, two = member(1), member(2)
    for each in (one, two):
        book.reserve()
        book.dialled(each)
        book.hand_over(5)
    assert (first.got, second.got, third.got) == (one, two, None)
    assert list(book.waiters) == [third]
    two.mark_available(6)
    book.hand_over(6)
    assert third.got is two


def test_a_cancelled_waiter_swallows_no_connection() -> None:
    one = member()
    book = slots(1, one)
    cancelled, next_one = Waiter(1, gone=True), Waiter(2)
    book.waiters.extend([cancelled, next_one])
    book.hand_over(5)
    assert (cancelled.got, next_one.got) == (None, one)
    assert one.borrowers == 1
    alone = slots(1, two := member())
    alone.waiters.append(Waiter(gone=True))
    alone.hand_over(5)
    assert (two.in_use, two.uses, two.state) == (False, 0, State.AVAILABLE)
    assert not alone.waiters


def test_every_waiter_gets_an_error_of_its_own() -> None:
    book = slots(1)
    waiters = [Waiter(), Waiter()]
    book.waiters.extend(waiters)
    book.fail_waiters(lambda: OSError("no"))
    errors = [waiter.error for waiter in waiters]
    assert all(isinstance(error, OSError) for error in errors)
    assert errors[0] is not errors[1]
    assert not book.waiters


# Dials


@pytest.mark.parametrize(
    ("waiters", "dialling", "members", "size", "sessions", "parallel", "wanted"),
    [
        (0, 0, 0, 5, 1, 4, 0),
        (1, 0, 0, 5, 1, 4, 1),
        (3, 0, 0, 5, 1, 4, 3),
        (9, 0, 0, 5, 1, 4, 4),  # max_parallel_dials
        (9, 0, 0, 5, 1, 9, 5),  # pool_size
        (9, 0, 4, 5, 1, 9, 1),
        (9, 0, 5, 5, 1, 9, 0),
        (2, 2, 0, 5, 1, 4, 0),  # each has a dial under way
        (3, 2, 0, 5, 1, 4, 1),
        (1, 4, 0, 9, 1, 4, 0),
        (4, 0, 0, 5, 4, 4, 1),  # one master serves them all
        (5, 0, 0, 5, 4, 4, 2),
        (5, 1, 0, 5, 4, 4, 1),
        (4, 1, 0, 5, 4, 4, 0),
    ],
)
def test_dials_wanted(
    waiters: int, dialling: int, members: int, size: int, sessions: int, parallel: int, wanted: int
) -> None:
    book = slots(
        size,
        *(member(n) for n in range(members)),
        sessions_per_connection=sessions,
        max_parallel_dials=parallel,
    )
    book.waiters.extend(Waiter(n) for n in range(waiters))
    for _ in range(dialling):
        book.reserve()
    assert book.dials_wanted() == wanted


def test_a_master_that_is_leaving_still_counts() -> None:
    book = slots(1)
    book.closing = 1
    book.waiters.append(Waiter())
    assert book.taken == 1
    assert book.dials_wanted() == 0


def test_an_unhealthy_member_is_replaced_though_nobody_waits() -> None:
    book = slots(2)
    book.replacing = 1
    assert book.dials_wanted() == 1
    book.reserve()
    assert (book.replacing, book.dials_wanted()) == (0, 0)


def test_slot_numbers_never_come_twice() -> None:
    book = slots(2)
    assert [book.reserve(), book.reserve()] == [1, 2]
    book.failed()
    assert book.reserve() == 3
    assert book.dialling == 2


def test_removed_once() -> None:
    one = member()
    book = slots(1, one)
    assert book.remove(one)
    assert not book.remove(one)
    assert book.taken == 0


# Expiry


def test_idle_and_old_members_are_due_and_used_ones_never() -> None:
    idle, old, busy, young = member(1), member(2), member(3), member(4, at=95)
    old.last_used = 99
    book = slots(4, idle, old, busy, young, max_age=50, max_idle=20)
    old.created_at, idle.created_at, idle.last_used = 40, 60, 79.9
    busy.mark_used(0)
    found = book.expired(100)
    assert {(e.member.slot, e.state, e.reason) for e in found} == {
        (1, State.STALE, "idle for longer than max_idle"),
        (2, State.STALE, "older than max_age"),
    }


def test_next_expiry_is_when_the_first_becomes_due() -> None:
    one, two = member(1, at=0), member(2, at=10)
    book = slots(2, one, two, max_age=50, max_idle=20)
    assert book.next_expiry() == 20
    assert book.expired(20) == []
    assert [e.member for e in book.expired(20.01)] == [one]
    one.mark_used(15)
    assert book.next_expiry() == 30
    two.mark_used(16)
    assert book.next_expiry() is None
    one.mark_available(45)
    assert book.next_expiry() == 50  # by then it is too old


def test_a_pool_does_not_recycle_all_at_once() -> None:
    book = slots(50, max_age=1000)
    for number in range(50):
        book.reserve()
        book.dialled(member(number, last_used=1000))
    jitters = {each.age_jitter for each in book.members}
    assert len(jitters) == 50
    assert all(0 <= jitter <= 0.1 for jitter in jitters)
    assert book.expired(900) == []
    assert len(book.expired(1000.1)) == 50
    assert 0 < len(book.expired(950)) < 50


def test_overdue_says_why_a_member_given_back_has_to_leave() -> None:
    one = member()
    book = slots(1, one, max_age=50, max_health_failures=2)
    assert book.overdue(one, 50) is None
    assert book.overdue(one, 50.1) == "older than max_age"
    one.health_check_failures = 2
    assert book.overdue(one, 1) == "it failed its health checks"
    one.connection.usable = False
    assert book.overdue(one, 1) == "it cannot be used any more"


def test_repr_tells_the_state() -> None:
    busy = member(1)
    book = slots(5, busy, member(2))
    busy.mark_used(1)
    book.reserve()
    book.closing = 1
    book.waiters.extend([Waiter(), Waiter()])
    assert repr(book) == "<Slots 1 in use, 1 available, 1 dialling, 1 closing, 2 waiting>"


# Any history


class PoolHistory(RuleBasedStateMachine):
    """Plays what pool.py does with the book, in any order that a loop could bring about."""

    waiting = Bundle("waiting")
    lent = Bundle("lent")

    @initialize(size=st.integers(1, 4), sessions=st.integers(1, 3), parallel=st.integers(1, 3))
    def start(self, size: int, sessions: int, parallel: int) -> None:
        config = PoolConfig(
            pool_size=size,
            sessions_per_connection=sessions,
            max_parallel_dials=parallel,
            max_age=100,
            max_idle=30,
        )
        self.book: Slots[Link] = Slots(config)
        self.time = 0.0
        self.closing: list[Member] = []
        self.served: list[Waiter] = []
        self.asked = 0
        self.holders: dict[int, int] = {}
        self.moves: dict[int, list[State]] = {}

    # What pool.py does

    def lend(self, to: Member) -> None:
        assert to in self.book.members
        assert not to.is_closed
        assert to.connection.usable
        assert to.borrowers < self.book.config.sessions_per_connection
        self.holders[to.slot] = self.holders.get(to.slot, 0) + 1

    def dispatch(self) -> None:
        for each in self.book.unusable():
            if not each.in_use:
                self.retire(each, State.UNHEALTHY)
        self.book.hand_over(self.time)
        for _ in range(self.book.dials_wanted()):
            self.book.reserve()

    def retire(self, each: Member, state: State) -> None:
        assert self.book.remove(each)
        each.move(state, "")
        self.book.closing += 1
        self.closing.append(each)

    def give_back(self, each: Member) -> None:
        self.holders[each.slot] -= 1
        if each.state is State.CLOSED:
            return
        each.mark_available(self.time)
        if not each.in_use and self.book.overdue(each, self.time):
            self.retire(each, State.STALE)
        self.dispatch()

    # What happens

    @rule(target=waiting)
    def acquire(self) -> object:
        taken = self.book.take(self.time)
        if taken is not None:
            assert taken.in_use
            self.holders[taken.slot] = self.holders.get(taken.slot, 0) + 1
            return Waiter(-1, got=taken)
        self.asked += 1
        waiter = Waiter(self.asked, served=self.served, check=self.lend)
        self.book.waiters.append(waiter)
        self.dispatch()
        return waiter

    @rule(target=lent, waiter=consumes(waiting))
    def enter(self, waiter: Waiter) -> object:
        """The borrower runs on with what it was handed; one that still waits is cancelled."""
        if waiter.got is not None:
            return waiter.got
        waiter.gone = True  # its place in the queue stays until its task has run
        return multiple()

    @rule(waiter=consumes(waiting))
    def cancel(self, waiter: Waiter) -> None:
        """Cancelled, before or after the hand-over."""
        waiter.gone = True
        if waiter.got is not None:
            self.give_back(waiter.got)
        elif waiter in self.book.waiters:
            self.book.waiters.remove(waiter)

    @rule(each=consumes(lent))
    def release(self, each: Member) -> None:
        self.give_back(each)

    @precondition(lambda self: self.book.dialling)
    @rule()
    def dial_works(self) -> None:
        slot = len(self.moves) + 1
        self.moves[slot] = []
        each: Member = PooledConnection(
            Link(),
            "hpc",
            self.time,
            self.time,
            slot=slot,
            observer=lambda m, _old, new, _why: self.moves[m.slot].append(new),
        )
        self.book.dialled(each)
        self.book.hand_over(self.time)
        if each.state is State.CREATED:
            each.move(State.AVAILABLE, "")
        self.dispatch()

    @precondition(lambda self: self.book.dialling)
    @rule()
    def dial_fails(self) -> None:
        self.book.failed()
        if not self.book.members and not self.book.dialling:
            self.book.fail_waiters(lambda: OSError("no"))
        self.dispatch()

    @precondition(lambda self: self.book.members)
    @rule(which=st.integers(0, 9))
    def lose(self, which: int) -> None:
        each = self.book.members[which % len(self.book.members)]
        each.connection.usable = False
        assert self.book.remove(each)
        each.move(State.CLOSED, "")
        self.dispatch()

    @precondition(lambda self: self.book.members)
    @rule(which=st.integers(0, 9))
    def break_quietly(self, which: int) -> None:
        """Its socket is gone: nobody is told until the next look."""
        self.book.members[which % len(self.book.members)].connection.usable = False
        self.dispatch()

    @precondition(lambda self: self.closing)
    @rule()
    def close(self) -> None:
        self.closing.pop().move(State.CLOSED, "")
        self.book.closing -= 1
        self.dispatch()

    @precondition(lambda self: self.book.members)
    @rule(which=st.integers(0, 9))
    def fail_health_checks(self, which: int) -> None:
        each = self.book.members[which % len(self.book.members)]
        each.health_check_failures += 1
        if each.health_check_failures >= 3 and not each.in_use:
            self.book.replacing += 1
            self.retire(each, State.UNHEALTHY)
            self.dispatch()

    @rule(seconds=st.sampled_from([0.0, 1.0, 31.0, 101.0]))
    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        due = self.book.expired(self.time)
        soon = self.book.next_expiry()
        assert not due or (soon is not None and soon < self.time)
        for expired in due:
            assert not expired.member.in_use
            self.retire(expired.member, expired.state)
        self.dispatch()

    # What must always hold

    @invariant()
    def the_pool_is_never_too_large(self) -> None:
        book = self.book
        assert 0 <= book.taken <= book.config.pool_size
        assert 0 <= book.dialling <= book.config.max_parallel_dials
        assert book.closing == len(self.closing)
        assert book.replacing >= 0

    @invariant()
    def borrowers_are_those_who_hold_it(self) -> None:
        for each in self.book.members:
            assert each.borrowers == self.holders.get(each.slot, 0)
            assert each.borrowers <= self.book.config.sessions_per_connection
            assert each.in_use is (each.borrowers > 0)
            assert each.in_use is (each.state is State.IN_USE)
            assert each.state in (State.IN_USE, State.AVAILABLE)

    @invariant()
    def nobody_waits_beside_a_free_connection(self) -> None:
        if any(not waiter.gone for waiter in self.book.waiters):
            assert self.book.lendable() is None

    @invariant()
    def everybody_who_waits_has_something_to_wait_for(self) -> None:
        if any(not waiter.gone for waiter in self.book.waiters):
            assert self.book.dialling or self.book.closing or self.book.members

    @invariant()
    def service_is_in_the_order_of_arrival(self) -> None:
        numbers = [waiter.number for waiter in self.served]
        assert numbers == sorted(numbers)
        queued = [waiter.number for waiter in self.book.waiters]  # type: ignore[attr-defined]
        assert queued == sorted(queued)

    @invariant()
    def closed_is_the_end(self) -> None:
        for states in self.moves.values():
            assert State.CLOSED not in states[:-1]


TestPoolHistory = PoolHistory.TestCase
TestPoolHistory.settings = settings(max_examples=150, stateful_step_count=40)


# What a user had to log in for


def test_what_a_user_logged_in_for_is_ended_by_neither_age_nor_idleness() -> None:
    kept, plain = member(1), member(2)
    kept.interactive_login = True
    book = slots(2, kept, plain, max_age=50, max_idle=20)
    assert [e.member for e in book.expired(1e9)] == [plain]
    assert book.overdue(kept, 1e9) is None
    assert not kept.is_stale(0, 1e9)
    assert not kept.is_idle_too_long(0, 1e9)
    assert book.remove(plain)
    assert book.next_expiry() is None


def test_it_leaves_all_the_same_when_it_is_of_no_use() -> None:
    kept = member()
    kept.interactive_login = True
    book = slots(1, kept, max_health_failures=2)
    kept.health_check_failures = 2
    assert book.overdue(kept, 0) == "it failed its health checks"
    kept.connection.usable = False
    assert book.overdue(kept, 0) == "it cannot be used any more"
    assert book.unusable() == [kept]
    assert book.lendable() is None


@pytest.mark.parametrize(
    ("masters", "dials", "members", "dialling", "wanted"),
    [
        (1, 1, 0, 0, 1),
        (1, 1, 0, 1, 0),
        (1, 1, 1, 0, 0),
        (1, 1, 3, 0, 0),  # there were more before it was known
        (1, 4, 0, 0, 1),
        (5, 1, 0, 0, 1),  # one trial first
        (5, 1, 0, 1, 0),
        (5, 1, 0, 3, 0),
        (5, 1, 1, 0, 1),
        (None, 1, 0, 0, 1),
        (2, None, 0, 0, 2),
        (None, None, 0, 0, 4),
        (0, 4, 0, 0, 0),
        (9, 9, 0, 0, 9),  # the caller's figures, whatever pool_size is
    ],
)
def test_dials_wanted_within_other_limits(
    masters: int | None, dials: int | None, members: int, dialling: int, wanted: int
) -> None:
    book = slots(5, *(member(n) for n in range(members)), max_parallel_dials=4)
    book.waiters.extend(Waiter(n) for n in range(9))
    for _ in range(dialling):
        book.reserve()
    assert book.dials_wanted(masters, dials) == wanted
    if not wanted:
        book.replacing = 9  # an unhealthy one is no reason to go beyond them
        assert book.dials_wanted(masters, dials) == 0
