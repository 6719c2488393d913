from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.channels import (
    LINES,
    LINGER,
    RENEW_AFTER,
    TOPICS,
    Roster,
    attend,
    follow_topic,
    followed_ids,
    meaning,
    reconnect_delay,
    renew_after,
    snapshot,
    topics_of,
)
from bridge.errors import ConfigError
from bridge.sim.genesys_topics import expand, refusal

QUEUE = "c31d0000-0000-4000-8000-000000000001"
USER = "7f0c0000-0000-4000-8000-000000000002"
CALL = "62ea6595-0000-4000-8000-000000000001"
ON_QUEUE = f"v2.routing.queues.{QUEUE}.conversations"
COST = len(topics_of(CALL))


def customer(name: str, *, ended: bool = False) -> dict[str, Any]:
    leg = {"id": f"leg-{name}", "state": "disconnected" if ended else "connected"}
    times = {"connectedTime": "2026-03-21T01:09:30.100Z"} | ({"endTime": "2026-03-21T01:19:30.100Z"} if ended else {})
    return {"id": name, "purpose": "customer", **times, "calls": [leg]}


def shown(*participants: dict[str, Any], call: str = CALL) -> dict[str, Any]:
    return {"topicName": ON_QUEUE, "version": "2", "eventBody": {"id": call, "participants": list(participants)}}


def left(name: str) -> dict[str, Any]:
    body = {"eventTime": 1, "conversationId": CALL, "participantId": name, "sessionId": "s"}
    return {"topicName": f"v2.detail.events.conversation.{CALL}.customer.end", "version": "2", "eventBody": body}


def roster(**limits: int) -> Roster:
    made = Roster(**limits)
    made.follow([ON_QUEUE])
    return made


# --- topics -------------------------------------------------------------------------------------------------------


def test_queues_and_users_are_followed_by_their_topics() -> None:
    topics = [follow_topic(f"queue:{QUEUE}"), follow_topic(f"user:{USER}")]
    assert topics == [ON_QUEUE, f"v2.users.{USER}.conversations"]
    assert followed_ids([*topics, *topics_of(CALL)]) == ([QUEUE], [USER])


@pytest.mark.parametrize("wish", ["", "queue", "queue:", "team:1", ":1"])
def test_another_wish_is_refused_with_what_would_be_right(wish: str) -> None:
    with pytest.raises(ConfigError, match="should be queue:ID or user:ID"):
        follow_topic(wish)


def test_every_topic_we_ask_for_is_one_that_the_service_has() -> None:
    wanted = [follow_topic(f"queue:{QUEUE}"), follow_topic(f"user:{USER}"), *topics_of(CALL)]
    assert [topic for topic in wanted if refusal(topic, ())] == []
    assert [expand(topic) for topic in wanted] == [(topic,) for topic in wanted]


@pytest.mark.parametrize(
    ("participant", "topic"),
    [
        ({"queueId": QUEUE}, ON_QUEUE),
        ({"userId": USER}, f"v2.users.{USER}.conversations"),
        ({"userId": "another"}, f"v2.users.{USER}.conversations"),
    ],
)
def test_a_looked_up_conversation_comes_under_the_topic_that_follows_it(
    participant: dict[str, str], topic: str
) -> None:
    body = {"id": CALL, "participants": [participant]}
    made = snapshot(body, [f"v2.users.{USER}.conversations", ON_QUEUE])
    assert (made["topicName"], made["eventBody"]) == (topic, body)


# --- frames and times ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "means"),
    [
        ({"topicName": "channel.metadata", "eventBody": {"message": "WebSocket Heartbeat"}}, "heartbeat"),
        ({"result": "200", "status": "subscribed"}, "answer"),
        ({"result": "404", "message": "gone"}, "answer"),
        ({"topicName": "v2.system.socket_closing"}, "closing"),
        ({"topicName": "v2.system.token_revoked.x-1", "eventBody": {}}, "revoked"),
        ({"topicName": "v2.system.no_longer_subscribed.x"}, "taken"),
        ({"topicName": "v2.system"}, "event"),
        ({"topicName": "v2.system.other"}, "event"),
        ({"topicName": ["v2"], "eventBody": {}}, "event"),
        ({"topicName": ON_QUEUE, "eventBody": {}}, "event"),
        ({}, "event"),
    ],
)
def test_a_frame_has_a_meaning(frame: dict[str, Any], means: str) -> None:
    assert meaning(frame) == means


@pytest.mark.parametrize(
    ("quiet", "age", "duty", "wait"),
    [
        (0, 0, "wait", 35),
        (34, 0, "wait", 1),
        (35, 0, "ping", 10),
        (44, 0, "ping", 1),
        (45, 0, "dead", 0),
        (0, RENEW_AFTER - 5, "wait", 5),
        (40, RENEW_AFTER - 2, "ping", 2),
        (99, RENEW_AFTER, "renew", 0),
    ],
)
def test_a_socket_is_asked_after_35_s_given_up_10_s_later_and_renewed_at_23_h(
    quiet: float, age: float, duty: str, wait: float
) -> None:
    assert attend(quiet, age, RENEW_AFTER) == (duty, wait)


def test_a_channel_is_renewed_before_it_or_its_token_ends() -> None:
    assert renew_after(86_399) == 23 * 3600
    assert renew_after(3_600) == 3_480
    assert renew_after(100) == 60


def test_reconnecting_has_full_jitter_and_a_cap() -> None:
    assert [reconnect_delay(failures, 1.0) for failures in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert reconnect_delay(10**9, 1.0) == 30
    assert reconnect_delay(4, 0.25) == 4


# --- conversations ------------------------------------------------------------------------------------------------


def test_a_conversation_is_tracked_from_its_first_snapshot() -> None:
    made = roster()
    assert made.see(shown(customer("a")), 0) == ("new", CALL)
    assert made.see(shown(customer("a")), 1) == ("", "")
    assert list(made.wanted[0]) == [ON_QUEUE, *topics_of(CALL)]


@pytest.mark.parametrize(
    "frame",
    [
        shown(customer("a", ended=True)),
        shown(),
        left("a"),
        {"topicName": ON_QUEUE, "eventBody": {"id": 7}},
        {"topicName": f"v2.conversations.{CALL}.transcription", "eventBody": {}},
        {},
    ],
)
def test_what_shows_no_customer_who_is_there_is_not_tracked(frame: dict[str, Any]) -> None:
    made = roster()
    assert made.see(frame, 0) == ("", "")
    assert not made.tracked


def test_it_ends_when_the_last_customer_has_left() -> None:
    made = roster()
    made.see(shown(customer("a"), customer("b")), 0)
    assert made.see(left("a"), 1) == ("", "")
    assert [each.conversation for each in made.on_line(0)] == [CALL]
    assert made.see(left("b"), 2) == ("ended", CALL)
    assert made.see(shown(customer("a", ended=True), customer("b", ended=True)), 3) == ("", "")
    assert list(made.on_line(0)) == []


def test_a_snapshot_can_end_it_too() -> None:
    made = roster()
    made.see(shown(customer("a")), 0)
    assert made.see(shown(customer("a", ended=True)), 5) == ("ended", CALL)


def test_its_topics_are_kept_for_the_last_words_and_then_go() -> None:
    made = roster()
    made.see(shown(customer("a")), 0)
    made.see(left("a"), 100)
    assert made.let_go(99 + LINGER) == set()
    assert made.let_go(100 + LINGER) == {0}
    assert (list(made.wanted[0]), made.tracked) == ([ON_QUEUE], {})


def test_a_forgotten_conversation_gives_its_topics_free() -> None:
    made = roster()
    made.see(shown(customer("a")), 0)
    made.forget(CALL)
    made.forget("never seen")
    assert list(made.wanted[0]) == [ON_QUEUE]


def test_when_no_line_has_room_it_is_said_once_and_room_is_used_when_there_is_some() -> None:
    made = roster(topics=COST + 1, most=2)
    for number in range(2):
        assert made.see(shown(customer("a"), call=f"call-{number}"), 0)[0] == "new"
    late = shown(customer("a"), call="call-late")
    assert [made.see(late, 1)[0] for _ in range(2)] == ["full", ""]
    made.forget("call-1")
    assert made.see(late, 2) == ("new", "call-late")


def test_one_turned_away_that_ends_and_comes_again_is_said_again() -> None:
    made = roster(topics=COST, most=1)
    assert made.see(shown(customer("a")), 0)[0] == "full"
    made.see(shown(customer("a", ended=True)), 1)
    assert made.see(shown(customer("b")), 2)[0] == "full"


def test_more_followed_topics_than_all_channels_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 2 topics"):
        Roster(topics=1, most=2).follow([ON_QUEUE, "b", "c"])


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=120))
def test_however_they_come_and_go_each_line_holds_what_its_conversations_need(steps: list[tuple[int, bool]]) -> None:
    made = roster(topics=20, most=3)
    for now, (number, begins) in enumerate(steps):
        name = f"call-{number}"
        made.see(shown(customer("a", ended=not begins), call=name), now * LINGER)
        made.let_go(now * LINGER)
        assert len(made.wanted) <= 3
        for line, wanted in enumerate(made.wanted):
            held = [
                topic for each in made.tracked.values() if each.line == line for topic in topics_of(each.conversation)
            ]
            assert sorted(wanted) == sorted(held + [ON_QUEUE] * (line == 0))
            assert len(wanted) <= 20


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "participants", "purpose", "calls", "state", "conversationId", "participantId"]),
            inner,
        )
    ),
    max_leaves=12,
)
topics = st.sampled_from(
    [ON_QUEUE, left("a")["topicName"], "v2.system.socket_closing", "v2.system.", "channel.metadata"]
)


@given(st.dictionaries(st.sampled_from(["id", "participants"]), anything))
def test_a_conversation_of_any_shape_that_was_looked_up_becomes_an_envelope(body: dict[str, Any]) -> None:
    assert snapshot(body, [ON_QUEUE])["topicName"] == ON_QUEUE


@given(st.fixed_dictionaries({}, optional={"topicName": topics | anything, "eventBody": anything, "result": anything}))
def test_a_frame_of_any_shape_has_a_meaning_and_does_no_harm(frame: dict[str, Any]) -> None:
    made = roster()
    meaning(frame)
    made.see(frame, 0)
    assert len(made.wanted[0]) == 1 + COST * len(made.tracked)


def test_the_limits_are_those_of_the_service_less_one_channel_for_renewal() -> None:
    assert (TOPICS, LINES) == (1000, 19)
