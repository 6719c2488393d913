from __future__ import annotations

import pytest
from bridge_parts import said

from bridge import Context, CustomerLeft, Event, Router, Utterance
from bridge.errors import ConfigError

LEFT = CustomerLeft(id="l", conversation="talk", at_ms=0, participant="p")


async def on_said(_: Utterance, __: Context) -> None: ...


async def on_any(_: Event, __: Context) -> None: ...


def names(router: Router, event: Event) -> list[str]:
    return [route.name for route in router.match(event)]


def test_a_route_wants_its_class_and_what_derives_from_it_in_the_order_of_registration() -> None:
    router = Router("r")
    router.on(Event)(on_any)
    router.on(Utterance)(on_said)
    assert names(router, said("u1")) == ["r.on_any", "r.on_said"]
    assert names(router, LEFT) == ["r.on_any"]


def test_a_filter_decides() -> None:
    router = Router("r")
    router.on(Utterance, when=lambda event: event.speaker == "agent")(on_said)
    assert names(router, said("u1", speaker="agent")) == ["r.on_said"]
    assert names(router, said("u1")) == []


def test_a_filter_that_raises_wants_the_event_but_none_of_another_class() -> None:
    router = Router("r")
    router.on(Utterance, when=lambda event: bool(1 // len(event.text)))(on_said)
    assert names(router, said("u1", "")) == ["r.on_said"]
    assert names(router, LEFT) == []


def test_routers_merge_and_keep_their_names() -> None:
    one, two, all_of_them = Router("one"), Router("two"), Router("all")
    one.on(Utterance, mode="latest")(on_said)
    two.on(Utterance)(on_said)
    all_of_them.include(one, two)
    assert [(route.name, route.mode) for route in all_of_them] == [
        ("one.on_said", "latest"),
        ("two.on_said", "ordered"),
    ]
    found = all_of_them.find("two.on_said")
    assert found is not None
    assert found.handler is on_said
    assert all_of_them.find("all.on_said") is None


def test_two_handlers_of_one_name_are_refused() -> None:
    router = Router("r")
    router.on(Utterance)(on_said)
    with pytest.raises(ConfigError, match=r"two handlers are named 'r\.on_said'; rename one"):
        router.on(Utterance)(on_said)


def test_the_decorator_gives_the_function_back() -> None:
    assert Router("r").on(Utterance)(on_said) is on_said
