"""Any mixture of appends, settlements, take-overs and restarts, beside a model that a page of Python can hold."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import define, field
from engines import ONE, Store, arrival, callback, own, take
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.ports import Delivery, Engine

actions = st.one_of(
    st.tuples(st.just("append"), st.lists(st.integers(0, 15), max_size=4)),
    st.tuples(st.sampled_from(["finish", "dead", "park", "late"]), st.integers(0, 5)),
    st.tuples(st.sampled_from(["takeover", "restart", "requeue"]), st.none()),
)


@define
class Model:
    """What must be true. `waiting` in the order of the tail."""

    log: list[str] = field(factory=list)
    waiting: list[str] = field(factory=list)
    dead: list[str] = field(factory=list)
    sent: list[str] = field(factory=list)


@define
class Owner:
    """The engine of the moment, the deliveries it took, and those that an owner before it still holds."""

    engine: Engine
    epoch: int = 0
    taken: dict[str, Delivery] = field(factory=dict)
    lost: dict[str, tuple[Delivery, int]] = field(factory=dict)

    async def take_over(self, model: Model) -> None:
        self.lost |= {name: (delivery, self.epoch) for name, delivery in self.taken.items()}
        partition, self.epoch = await own(self.engine)
        deliveries = await take(self.engine.tail(partition, self.epoch), len(model.waiting))
        assert [one.event.id for one in deliveries] == model.waiting
        self.taken = {one.event.id: one for one in deliveries}


async def settle(owner: Owner, model: Model, how: str, name: str) -> None:
    """Finish, park or give up one delivery that the owner holds."""
    one = owner.taken[name]
    if how == "park":
        assert await owner.engine.park(one, owner.epoch, attempts=1, not_before_ms=1, error="busy")
        return
    del owner.taken[name]
    model.waiting.remove(name)
    if how == "dead":
        model.dead.append(name)
        assert await owner.engine.dead(one, owner.epoch, "no")
    else:
        model.sent.append(name)
        assert await owner.engine.finish(one, owner.epoch, [callback(one)])


async def append(owner: Owner, model: Model, numbers: Sequence[int]) -> None:
    """Append, and take over again so as to hold what is new."""
    names = [f"{number}" for number in numbers]
    told = await owner.engine.append([arrival(name, wanted=ONE) for name in names])
    for name, answer in zip(names, told, strict=True):
        assert answer.duplicate == (name in model.log)
        if not answer.duplicate:
            model.log.append(name)
            model.waiting.append(name)
    await owner.take_over(model)


async def act(owner: Owner, model: Model, action: str, choice: object) -> None:
    if isinstance(choice, list):
        await append(owner, model, choice)
    elif action == "requeue":
        for name in model.dead:
            assert await owner.engine.requeue(event=name, handler="notes")
        model.waiting += model.dead
        model.dead.clear()
        await owner.take_over(model)
    elif action == "takeover":
        await owner.take_over(model)
    elif action == "late":
        for one, epoch in owner.lost.values():
            assert not await owner.engine.finish(one, epoch, [callback(one, 9)])
    elif isinstance(choice, int) and model.waiting:
        await settle(owner, model, action, model.waiting[choice % len(model.waiting)])


async def check(engine: Engine, model: Model) -> None:
    assert [event.id for event in await engine.history("talk")] == model.log
    assert {one.event.id for one in await engine.deliveries(state="dead")} == set(model.dead)
    assert [one.event for one in await engine.callbacks(limit=1000)] == model.sent
    counts = await engine.counts()
    assert (counts.events, counts.waiting, counts.dead) == (len(model.log), len(model.waiting), len(model.dead))
    assert (counts.finished, counts.callbacks_waiting) == (len(model.sent), len(model.sent))


@pytest.mark.slow  # every example opens stores of its own
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, max_size=25))
async def test_the_engine_does_what_the_model_says(open_engine: Store, script: list[tuple[str, object]]) -> None:
    model = Model()
    with TemporaryDirectory(dir=Path(open_engine.address).parent) as folder:
        store = Store(open_engine.kind, str(Path(folder) / "bridge.db"))
        async with AsyncExitStack() as stack:
            owner = Owner(await stack.enter_async_context(store()))
            await owner.take_over(model)
            for action, choice in script:
                if action == "restart":
                    await stack.aclose()
                    owner.engine = await stack.enter_async_context(store())
                    await owner.take_over(model)
                await act(owner, model, action, choice)
            await check(owner.engine, model)
