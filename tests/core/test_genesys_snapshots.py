"""Snapshots show facts that detail events tell too: the keys must be the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.core.events import (
    AgentJoined,
    AgentLeft,
    ConversationEnded,
    ConversationStarted,
    CustomerLeft,
    Event,
    MessageReceived,
    QueueConversation,
    WrapUp,
)
from bridge.core.genesys import parse
from bridge.errors import PayloadError

CORPUS = Path(__file__).parents[1] / "corpus" / "envelopes"
FACTORY = "3d2c9a51-6b0e-4f57-9d2a-0c8c4be1"
CUSTOMER, AGENT, DEAD = (f"{FACTORY}c00{n}" for n in (1, 2, 3))
START = 1_767_348_000_000


def sample(name: str) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads((CORPUS / f"{name}.json").read_text(encoding="utf-8"))
    return envelope


def kinds(events: tuple[Event, ...]) -> list[type[Event]]:
    return [type(event) for event in events]


def snapshot(*participants: dict[str, Any], topic: str = "v2.users.u.conversations") -> tuple[Event, ...]:
    return parse({"topicName": topic, "eventBody": {"id": "c", "participants": list(participants)}})


def leg(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "leg", "state": state, **more}


def test_a_snapshot_of_a_call_gives_itself_and_then_its_facts() -> None:
    events = parse(sample("user_conversations"))
    assert kinds(events) == [QueueConversation, ConversationStarted, AgentJoined, AgentLeft]
    snap, started, joined, left = events
    assert isinstance(snap, QueueConversation)
    assert snap.external_tag == "CASE-12"
    assert [(one.purpose, one.connected, one.ended) for one in snap.participants] == [
        ("customer", True, False),
        ("agent", False, True),
        ("agent", True, False),
    ]
    assert snap.participants[0].communications == (f"{FACTORY}b001",)
    assert isinstance(started, ConversationStarted)
    assert (started.media, started.direction, started.at_ms) == ("voice", "inbound", START + 100)
    assert isinstance(joined, AgentJoined)
    assert (joined.participant, joined.agent, joined.queue) == (AGENT, f"{FACTORY}d001", f"{FACTORY}d002")
    assert isinstance(left, AgentLeft)
    assert (left.participant, left.reason, left.at_ms) == (DEAD, "client", START + 3_000)


def test_a_snapshot_of_an_ended_call_tells_all_of_its_end() -> None:
    events = parse(sample("queue_conversations_over"))
    assert kinds(events) == [QueueConversation, AgentLeft, AgentLeft, WrapUp, CustomerLeft, ConversationEnded]
    wrapup, customer, end = events[3:]
    assert isinstance(wrapup, WrapUp)
    assert (wrapup.participant, wrapup.notes, wrapup.duration_ms) == (AGENT, "New card ordered", 25_000)
    assert customer.at_ms == end.at_ms == START + 95_000


@pytest.mark.parametrize("name", ["customer_start", "user_start", "customer_end", "user_end", "acw"])
def test_a_detail_event_and_a_snapshot_give_the_same_fact_the_same_id(name: str) -> None:
    (told,) = parse(sample(name))
    shown = {e.id: e for s in ("user_conversations", "queue_conversations_over") for e in parse(sample(s))}
    assert type(shown[told.id]) is type(told)


def test_the_started_event_of_both_ways_differs_in_nothing_but_its_time() -> None:
    (told,) = parse(sample("customer_start"))
    shown = parse(sample("user_conversations"))[1]
    assert isinstance(told, ConversationStarted)
    assert isinstance(shown, ConversationStarted)
    assert (told.media, told.direction, told.contact) == (shown.media, shown.direction, shown.contact)


def test_a_flat_call_is_its_own_leg() -> None:
    events = parse(sample("queue_conversations_calls"))
    assert kinds(events) == [QueueConversation, ConversationStarted, AgentJoined]
    assert isinstance(events[1], ConversationStarted)
    assert (events[1].media, events[1].participant) == ("voice", CUSTOMER)
    assert isinstance(events[2], AgentJoined)
    assert (events[2].agent, events[2].queue) == (f"{FACTORY}d001", f"{FACTORY}d002")


def test_flat_messages_are_told_with_their_speakers_and_typing_is_not() -> None:
    events = parse(sample("user_conversations_messages"))
    assert kinds(events) == [QueueConversation, ConversationStarted, AgentJoined, MessageReceived, MessageReceived]
    messages = [event for event in events if isinstance(event, MessageReceived)]
    assert [(one.message[-3:], one.speaker, one.media, one.status) for one in messages] == [
        ("101", "customer", "webmessaging", "received"),
        ("103", "agent", "webmessaging", "sent"),
    ]


def test_the_nested_and_the_flat_shape_give_one_message_one_id() -> None:
    nested = {event.id for event in parse(sample("user_conversations_with_messages"))}
    flat = {event.id for event in parse(sample("user_conversations_messages"))}
    assert {f"{FACTORY}a002:message:{FACTORY}e101", f"{FACTORY}a002:customer:{CUSTOMER}:started"} <= nested & flat


def test_a_message_whose_status_changes_is_no_new_fact() -> None:
    later = sample("user_conversations_messages")
    later["eventBody"]["participants"][0]["messages"][0]["messageStatus"] = "read"
    before, after = parse(sample("user_conversations_messages")), parse(later)
    assert before[0].id != after[0].id
    assert [event.id for event in before[1:]] == [event.id for event in after[1:]]


def test_a_conversation_goes_on_while_one_customer_is_there() -> None:
    gone = {"id": "p1", "purpose": "customer", "calls": [leg("disconnected")]}
    there = {"id": "p2", "purpose": "customer", "calls": [leg("connected")]}
    assert kinds(snapshot(gone, there)) == [QueueConversation, ConversationStarted, CustomerLeft]
    assert ConversationEnded in kinds(snapshot(gone))


def test_a_customer_with_one_leg_left_is_still_there() -> None:
    both = {"id": "p", "purpose": "customer", "calls": [leg("disconnected")], "messages": [leg("connected")]}
    snap, started = snapshot(both)
    assert isinstance(snap, QueueConversation)
    assert snap.participants[0].communications == ("leg", "leg")
    assert isinstance(started, ConversationStarted)
    assert started.media == "message"


def test_an_end_time_counts_more_than_a_leg_that_still_says_connected() -> None:
    gone = {"id": "p", "purpose": "customer", "endTime": "2026-01-02T10:00:00Z", "calls": [leg("connected")]}
    events = snapshot(gone)
    assert kinds(events) == [QueueConversation, CustomerLeft, ConversationEnded]
    assert isinstance(events[0], QueueConversation)
    assert not events[0].participants[0].connected


def test_who_left_twice_left_for_the_last_reason() -> None:
    legs = [leg("disconnected", disconnectType="transfer"), leg("disconnected", disconnectType="CLIENT")]
    left = snapshot({"id": "p", "purpose": "agent", "calls": legs})[1]
    assert isinstance(left, AgentLeft)
    assert left.reason == "client"


def test_a_message_shown_under_two_participants_is_one_fact() -> None:
    seen = {"purpose": "agent", "messages": [leg("connected", messages=[{"messageId": "m"}])]}
    assert kinds(snapshot({"id": "p", **seen}, {"id": "q", **seen})).count(MessageReceived) == 1


def test_a_ringing_customer_has_not_come_yet() -> None:
    ringing = {"id": "p", "purpose": "customer", "calls": [leg("dialing")]}
    assert kinds(snapshot(ringing)) == [QueueConversation]


def test_an_external_party_is_the_customer_only_where_there_is_no_other() -> None:
    external = {"id": "x", "purpose": "external", "calls": [leg("connected")]}
    customer = {"id": "p", "purpose": "customer", "calls": [leg("connected")]}
    alone, beside = snapshot(external), snapshot(external, customer)
    assert [event.id for event in alone[1:]] == ["c:customer:x:started"]
    assert [event.id for event in beside[1:]] == ["c:customer:p:started"]


def test_a_machine_in_the_conversation_is_neither_customer_nor_agent() -> None:
    ivr = {"id": "i", "purpose": "ivr", "calls": [leg("connected")]}
    bot = {"id": "w", "purpose": "workflow", "messages": [leg("connected", messages=[{"messageId": "m"}])]}
    events = snapshot(ivr, bot)
    assert kinds(events) == [QueueConversation, MessageReceived]
    assert isinstance(events[1], MessageReceived)
    assert events[1].speaker == "unknown"


def test_a_snapshot_without_times_takes_the_time_of_its_wrapping() -> None:
    envelope = {"topicName": "v2.users.u.conversations", "eventBody": {"id": "c"}, "timestamp": "2026-01-02T10:00:00Z"}
    assert parse(envelope)[0].at_ms == START
    assert parse({**envelope, "timestamp": "soon"})[0].at_ms == 0


@pytest.mark.parametrize(
    ("participant", "path"),
    [
        ({"purpose": "agent"}, "eventBody.participants[0].id"),
        ({"id": "p", "calls": {}}, "eventBody.participants[0].calls"),
        ({"id": "p", "calls": [7]}, "eventBody.participants[0].calls[0]"),
        ({"id": "p", "calls": [{"state": True}]}, "eventBody.participants[0].calls[0].state"),
        ({"id": "p", "messages": [{"messages": [{}]}]}, "eventBody.participants[0].messages[0].messages[0].messageId"),
        ({"id": "p", "connectedTime": "yesterday"}, "eventBody.participants[0].connectedTime"),
        ({"id": "p", "wrapup": {"durationSeconds": -1}}, "eventBody.participants[0].wrapup.durationSeconds"),
    ],
)
def test_what_is_wrong_in_a_participant_is_named_by_its_path(participant: dict[str, Any], path: str) -> None:
    with pytest.raises(PayloadError) as refused:
        snapshot(participant)
    assert refused.value.detail.startswith(f"{path}: ")
