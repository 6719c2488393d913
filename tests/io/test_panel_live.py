from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from panel_parts import card, gateway, line, live_with, screen, told

from bridge.io.panel import PanelLine
from bridge.io.panel.live import Live


def test_a_card_is_told_once_and_then_as_it_grows() -> None:
    live = live_with()
    for message in (card("It"), card("It left"), card("It left"), card("It left.", "ready")):
        live.take(message)
    whole = {"card": "a", "based_on": ["event-1"]}
    assert told(live.after(0) or b"") == [
        ("card", whole | {"state": "open", "text": "It"}),
        ("more", " left"),
        ("card", whole | {"state": "ready", "text": "It left."}),
    ]


@pytest.mark.parametrize("state", ["superseded", "expired", "withheld", "failed"])
def test_a_card_in_any_other_state_is_withdrawn(state: str) -> None:
    live = live_with()
    live.take(card("It"))
    live.take(card("", state))
    assert screen(live.after(0) or b"").card is screen(live.reset()).card is None


def test_a_newer_card_replaces_the_one_before_and_outlives_its_withdrawal() -> None:
    live = live_with()
    live.take(card("old", key="a"))
    live.take(card("new", key="b"))
    live.take(card("", "superseded", key="a"))
    shown = screen(live.after(0) or b"").card
    assert shown is not None
    assert (shown["card"], shown["text"]) == ("b", "new")


def test_a_card_that_answers_more_than_before_is_told_whole() -> None:
    live = live_with()
    live.take(card("It"))
    live.take(card("It left", based_on="event-2"))
    shown = screen(live.after(0) or b"").card
    assert shown is not None
    assert (shown["text"], shown["based_on"]) == ("It left", ["event-2"])


def test_the_detail_of_a_gateway_that_is_down_stays_inside() -> None:
    live = live_with()
    live.take(gateway("down"))
    live.take(gateway("down"))
    assert told(live.after(0) or b"") == [("model", {"reachable": False})]


def test_lines_are_told_once() -> None:
    live = live_with([line(1)])
    live.show([line(3), line(1)])
    live.show([line(3), line(1)])
    assert [[one["seq"] for one in lines] for _, lines in told(live.after(0) or b"")] == [[3]]
    assert screen(live.reset()).lines == {1: "Hello", 3: "Hello"}


keys = st.sampled_from(["type", "card", "state", "text", "based_on", "detail"])
words = st.sampled_from(["card", "event", "gateway", "open", "down"])
structures = st.recursive(
    st.none() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=10,
)


@given(st.binary() | structures.map(orjson.dumps))
@example(b'{"type":["card"]}')
@example(b'{"type":"gateway","state":["down"]}')
def test_any_bytes_on_the_bus_leave_a_stream_that_can_be_told(message: bytes) -> None:
    live = live_with()
    live.take(message)
    screen(live.after(0) or b"", live.reset())


happenings = st.lists(
    st.one_of(
        st.builds(
            card,
            st.text("ab\n\r\u2028é", max_size=6),
            st.sampled_from(["open", "open", "ready", "superseded"]),
            st.sampled_from("ab"),
            st.sampled_from(["event-1", "event-2"]),
        ),
        st.sampled_from(["down", "up"]).map(gateway),
        st.integers(min_value=1, max_value=9).map(line),
        st.just(b"forget"),
    ),
    max_size=30,
)


def happen(live: Live, happening: bytes | PanelLine) -> None:
    if isinstance(happening, PanelLine):
        live.show([happening])
    elif happening == b"forget":
        live.forget()
    else:
        live.take(happening)


@given(happenings=happenings, limit=st.integers(min_value=2, max_value=8), cuts=st.sets(st.integers(0, 30)))
def test_whoever_comes_back_at_any_frame_has_seen_what_the_others_saw(
    happenings: list[bytes | PanelLine], limit: int, cuts: set[int]
) -> None:
    live = live_with([line(1)], limit)
    steady, seen, position = [live.reset()], [live.reset()], f"{live._name}-0"
    for n, happening in enumerate(happenings):
        before = live.last
        happen(live, happening)
        steady.append(live.after(before) or b"")
        if n in cuts:
            known = live.position(position)
            seen += [live.reset()] if known is None else [live.after(known) or b""]
            position = f"{live._name}-{live.last}"
    known = live.position(position)
    whole = screen(*seen, live.reset() if known is None else live.after(known) or b"")
    assert whole == screen(*steady) == screen(live.reset())
    if limit > live.last:
        assert b"".join(seen) + (live.after(known or 0) or b"") == b"".join(steady)


@pytest.mark.parametrize("foreign", ["", "1", "other-1", "{name}-", "{name}--1", "{name}-9", "{name}-" + "9" * 5000])
def test_an_id_that_is_not_ours_is_no_place_in_the_stream(foreign: str) -> None:
    live = live_with()
    live.take(card("It"))
    assert live.position(foreign.format(name=live._name)) is None
    assert live.position(f"{live._name}-1") == 1


def test_an_id_whose_followers_are_gone_is_no_place_in_the_stream() -> None:
    live = live_with(limit=2)
    for n in range(4):
        live.take(card("x" * (n + 1)))
    assert [live.position(f"{live._name}-{n}") for n in range(5)] == [None, None, 2, 3, 4]
    assert live.after(1) is None
