"""What an engine promises to the doors."""

from __future__ import annotations

import asyncio

import pytest
from engines import BOTH, Store, arrival
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.ports import Arrival


async def test_events_get_places_that_grow(open_engine: Store) -> None:
    async with open_engine() as engine:
        first = await engine.append([arrival("a"), arrival("b")])
        second = await engine.append([arrival("c")])
    assert [(one.id, one.duplicate) for one in first + second] == [("a", False), ("b", False), ("c", False)]
    seqs = [one.seq or 0 for one in first + second]
    assert seqs == sorted(set(seqs))
    assert seqs[0] > 0


async def test_a_known_id_is_a_duplicate_at_its_first_place(open_engine: Store) -> None:
    async with open_engine() as engine:
        (first,) = await engine.append([arrival("a", "talk")])
        (second,) = await engine.append([arrival("a", "elsewhere")])
        assert (second.seq, second.duplicate) == (first.seq, True)
        assert [event.conversation for event in await engine.events()] == ["talk"]
        assert (await engine.counts()).waiting == 2


async def test_an_id_that_comes_twice_in_one_batch_is_stored_once(open_engine: Store) -> None:
    async with open_engine() as engine:
        told = await engine.append([arrival("a"), arrival("b"), arrival("a")])
        assert [one.duplicate for one in told] == [False, False, True]
        assert told[0].seq == told[2].seq
        assert (await engine.counts()).events == 2


async def test_an_id_is_still_known_after_a_restart(open_engine: Store) -> None:
    async with open_engine() as engine:
        (before,) = await engine.append([arrival("a")])
    async with open_engine() as engine:
        (after,) = await engine.append([arrival("a")])
        assert (after.seq, after.duplicate) == (before.seq, True)
        assert (await engine.counts()).events == 1


async def test_of_many_that_bring_the_same_event_at_once_one_is_first(open_engine: Store) -> None:
    async with open_engine() as engine:
        told = await asyncio.gather(*(engine.append([arrival("a"), arrival(f"own-{n}")]) for n in range(20)))
        assert sorted(one.duplicate for one, _ in told) == [False] + [True] * 19
        assert len({one.seq for one, _ in told}) == 1
        assert not any(mine.duplicate for _, mine in told)


async def test_nothing_appended_is_nothing(open_engine: Store) -> None:
    async with open_engine() as engine:
        assert await engine.append([]) == []


async def test_an_event_that_nobody_wants_is_kept_without_deliveries(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival("a", wanted=())])
        counts = await engine.counts()
        assert (counts.events, counts.waiting) == (1, 0)
        assert await engine.event("a") is not None
        assert await engine.event("b") is None


async def test_history_is_the_conversation_in_log_order(open_engine: Store) -> None:
    async with open_engine() as engine:
        await engine.append([arrival(f"{talk}{n}", talk) for n in range(5) for talk in ("x", "y")])
        told = await engine.history("x")
        assert [event.id for event in told] == ["x0", "x1", "x2", "x3", "x4"]
        assert [event.seq for event in told] == sorted(event.seq for event in told)
        assert await engine.history("nobody") == []


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(words, words, st.binary(max_size=300)), max_size=5))
@pytest.mark.slow  # opens a store for each example
async def test_whatever_is_appended_comes_back_as_it_was(
    open_engine: Store, given_events: list[tuple[str, str, bytes]]
) -> None:
    async with open_engine() as engine:
        known = {event.id for event in await engine.events(limit=1000)}
        for name, conversation, body in given_events:
            new = Arrival(name, conversation, "Unknown", body, 7, BOTH)
            (told,) = await engine.append([new])
            assert told.duplicate == (name in known)
            stored = await engine.event(name)
            assert stored is not None
            if name not in known:
                assert (stored.conversation, stored.body, stored.received_ms) == (conversation, body, 7)
                assert stored in await engine.history(conversation)
            known.add(name)
