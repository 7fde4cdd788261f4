"""SessionGate: places of one connection, in any interleaving that a loop allows."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux.errors import ConnectionLost
from sshmux.session.gate import SessionGate


async def turn() -> None:
    """Lets every task run that can."""
    for _ in range(3):
        await asyncio.sleep(0)


async def queue(gate: SessionGate, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(gate.enter()) for _ in range(count)]
    await turn()
    return tasks


@pytest.mark.parametrize(("max_sessions", "limit"), [(1, 1), (2, 1), (3, 2), (10, 9)])
def test_one_place_is_kept_for_control_as_long_as_there_are_two(
    max_sessions: int, limit: int
) -> None:
    assert SessionGate(max_sessions).limit == limit


async def test_first_come_first_served() -> None:
    gate = SessionGate(2)
    await gate.enter()
    one, two, three = await queue(gate, 3)
    assert (gate.inside, gate.waiting) == (1, 3)
    for task, others in ((one, (two, three)), (two, (three,)), (three, ())):
        gate.leave()
        await turn()
        assert task.done()
        assert not any(other.done() for other in others)
    gate.leave()
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_nobody_jumps_the_queue_between_two_turns_of_the_loop() -> None:
    gate = SessionGate(2)
    await gate.enter()
    (first,) = await queue(gate, 1)
    late = asyncio.ensure_future(gate.enter())
    gate.leave()  # the place is the first one's from this moment
    await turn()
    assert first.done()
    assert not late.done()
    gate.leave()
    await late


async def test_cancelled_while_it_waits() -> None:
    gate = SessionGate(2)
    await gate.enter()
    one, two = await queue(gate, 2)
    one.cancel()
    await turn()
    assert one.cancelled()
    assert gate.waiting == 1
    gate.leave()
    await two
    assert gate.inside == 1


async def test_cancelled_as_the_place_was_handed_over() -> None:
    gate = SessionGate(2)
    await gate.enter()
    one, two = await queue(gate, 2)
    gate.leave()  # hands the place to `one`, which has not run yet
    one.cancel()
    await turn()
    assert one.cancelled()
    assert two.done()
    assert gate.inside == 1


async def test_cancelled_before_the_place_is_handed_over_in_the_same_turn() -> None:
    gate = SessionGate(2)
    await gate.enter()
    one, two = await queue(gate, 2)
    one.cancel()
    gate.leave()
    await turn()
    assert one.cancelled()
    assert two.done()
    assert (gate.inside, gate.waiting) == (1, 0)


async def test_all_cancelled_leaves_it_empty() -> None:
    gate = SessionGate(2)
    await gate.enter()
    tasks = await queue(gate, 5)
    gate.leave()
    for task in tasks:
        task.cancel()
    await turn()
    assert (gate.inside, gate.waiting) == (0, 0)
    await asyncio.wait_for(gate.enter(), 5)


def test_a_refusal_while_others_are_open_teaches_the_limit() -> None:
    gate = SessionGate(10)
    gate.inside = 5
    assert gate.refused()
    assert gate.max_sessions == 4
    gate.inside = 9
    assert gate.refused()
    assert gate.max_sessions == 4  # it never grows


async def test_the_control_session_counts_among_the_others() -> None:
    gate = SessionGate(10)
    gate.inside = 1
    assert not gate.refused()
    assert gate.max_sessions == 10
    async with gate.control:
        assert gate.refused()
    assert (gate.max_sessions, gate.limit) == (1, 1)


async def test_a_learned_limit_holds_for_those_who_come() -> None:
    gate = SessionGate(10)
    for _ in range(4):
        await gate.enter()
    assert gate.refused()
    gate.leave()
    assert (gate.max_sessions, gate.limit, gate.inside) == (3, 2, 3)
    (again,) = await queue(gate, 1)
    gate.leave()
    await turn()
    assert not again.done()  # two are inside, and that is the limit now
    gate.leave()
    await again


async def test_closing_turns_everybody_away_each_with_an_error_of_their_own() -> None:
    gate = SessionGate(2)
    await gate.enter()
    tasks = await queue(gate, 2)
    gate.close(ConnectionLost("gone"))
    await turn()
    errors = [task.exception() for task in tasks]
    assert [str(error) for error in errors] == ["gone", "gone"]
    assert errors[0] is not errors[1]
    with pytest.raises(ConnectionLost, match="gone"):
        await gate.enter()
    gate.leave()
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_closing_takes_no_place_back_that_was_handed_over() -> None:
    gate = SessionGate(2)
    await gate.enter()
    (task,) = await queue(gate, 1)
    gate.leave()
    gate.close(ConnectionLost("gone"))
    await task
    assert gate.inside == 1


async def test_repr_tells_the_state() -> None:
    gate = SessionGate(3)
    await gate.enter()
    assert repr(gate) == "<SessionGate 1 of 2, 0 waiting>"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "leave", "cancel", "turn", "refuse"]),
        st.integers(0, 20),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 5))
def test_no_place_is_ever_lost_or_given_twice(
    steps: list[tuple[str, int]], max_sessions: int
) -> None:
    async def play() -> None:
        gate = SessionGate(max_sessions)
        entering: list[asyncio.Task[None]] = []
        inside = 0
        order: list[int] = []

        async def enter(number: int) -> None:
            if gate.enter_now():
                assert gate.waiting == 0  # nobody is passed by
            else:
                await gate.enter()
                order.append(number)

        def count() -> None:
            nonlocal inside
            for task in [task for task in entering if task.done()]:
                entering.remove(task)
                if not task.cancelled():
                    task.result()
                    inside += 1

        for number, (step, which) in enumerate(steps):
            if step == "enter":
                entering.append(asyncio.ensure_future(enter(number)))
            elif step == "leave" and inside:
                gate.leave()
                inside -= 1
            elif step == "cancel" and entering:
                entering[which % len(entering)].cancel()
            elif step == "refuse" and inside:
                gate.refused()
            elif step == "turn":
                await turn()
            count()
            assert gate.inside <= max(1, max_sessions - 1)
        await turn()
        count()
        # The books agree, and whoever still waits has a reason to.
        assert gate.inside == inside
        assert gate.waiting == len(entering)
        assert not entering or inside >= gate.limit
        while inside or entering:
            assert inside
            gate.leave()
            inside -= 1
            await turn()
            count()
        assert (gate.inside, gate.waiting) == (0, 0)
        assert order == sorted(order)  # of those who waited

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(play())
