"""Every topic that has a class, from a sample of its own in the corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.core.events import (
    AgentJoined,
    AgentLeft,
    ConversationStarted,
    CustomerLeft,
    Event,
    MessageReceived,
    SuggestionRequested,
    SummaryReady,
    TranscriptionStatus,
    Unknown,
    Utterance,
    WrapUp,
)
from bridge.core.genesys import ended, event_id, has_ended, parse

CORPUS = Path(__file__).parents[1] / "corpus" / "envelopes"

FACTORY = "3d2c9a51-6b0e-4f57-9d2a-0c8c4be1"
CALL, CHAT = f"{FACTORY}a001", f"{FACTORY}a002"
COMMUNICATION = f"{FACTORY}b001"
CUSTOMER, AGENT = f"{FACTORY}c001", f"{FACTORY}c002"
USER, QUEUE, CONTACT, CODE = (f"{FACTORY}d00{n}" for n in (1, 2, 3, 4))
START = 1_767_348_000_000
"""2026-01-02T10:00:00Z."""


def sample(name: str) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads((CORPUS / f"{name}.json").read_text(encoding="utf-8"))
    return envelope


def only(name: str) -> Event:
    (event,) = parse(sample(name))
    return event


SAID = Utterance(
    id=f"{CALL}:{COMMUNICATION}:{FACTORY}e001",
    conversation=CALL,
    at_ms=START + 12_345,
    communication=COMMUNICATION,
    utterance=f"{FACTORY}e001",
    speaker="customer",
    text="My card was swallowed by the machine.",
    start_ms=START + 9_000,
    end_ms=START + 11_400,
    confidence=0.87,
    dialect="en-US",
)

ONE_FACT: dict[str, Event] = {
    "transcription": SAID,
    "transcription_eventbridge": SAID,
    "customer_start": ConversationStarted(
        id=f"{CALL}:customer:{CUSTOMER}:started",
        conversation=CALL,
        at_ms=START,
        participant=CUSTOMER,
        media="voice",
        direction="inbound",
        contact=CONTACT,
    ),
    "customer_end": CustomerLeft(
        id=f"{CALL}:customer:{CUSTOMER}:left",
        conversation=CALL,
        at_ms=START + 95_000,
        participant=CUSTOMER,
        reason="peer",
    ),
    "customer_end_trigger": CustomerLeft(
        id=f"{CALL}:customer:{CUSTOMER}:left",
        conversation=CALL,
        at_ms=START + 95_000,
        participant=CUSTOMER,
        reason="peer",
    ),
    "user_start": AgentJoined(
        id=f"{CALL}:agent:{AGENT}:joined",
        conversation=CALL,
        at_ms=START + 4_000,
        participant=AGENT,
        agent=USER,
        queue=QUEUE,
    ),
    "user_end": AgentLeft(
        id=f"{CALL}:agent:{AGENT}:left",
        conversation=CALL,
        at_ms=START + 95_100,
        participant=AGENT,
        agent=USER,
        queue=QUEUE,
        reason="peer",
    ),
    "suggestion_triggered": SuggestionRequested(
        id=f"{CALL}:suggestion:{FACTORY}e201:Triggered",
        conversation=CALL,
        at_ms=START + 14_114,
        suggestion=f"{FACTORY}e201",
        state="Triggered",
        trigger="Intent",
        question="What happens to my card now?",
        language="en-US",
        agent=USER,
        queue=QUEUE,
        utterance=f"{FACTORY}e001",
    ),
    "suggestion_rated": SuggestionRequested(
        id=f"{CALL}:suggestion:{FACTORY}e201:Rated:Feedback",
        conversation=CALL,
        at_ms=START + 14_114,
        suggestion=f"{FACTORY}e201",
        state="Rated",
        question="What happens to my card now?",
        language="en-US",
        agent=USER,
        queue=QUEUE,
        utterance=f"{FACTORY}e001",
        engagement="Feedback",
        rating="Positive",
    ),
    "user_summary": SummaryReady(
        id=f"{CALL}:summary:{FACTORY}e301",
        conversation=CALL,
        at_ms=START + 130_000,
        summary=f"{FACTORY}e301",
        text="A card was swallowed; a new one was ordered.",
        language="en-US",
        agent=USER,
        queue=QUEUE,
    ),
    "open_message": MessageReceived(
        id=f"{CHAT}:message:{FACTORY}e103",
        conversation=CHAT,
        at_ms=START + 20_000,
        message=f"{FACTORY}e103",
        participant="",
        speaker="agent",
        media="open",
    ),
}


@pytest.mark.parametrize("name", ONE_FACT)
def test_a_topic_of_one_fact_gives_that_event(name: str) -> None:
    assert only(name) == ONE_FACT[name]


def test_several_transcripts_in_one_message_are_several_utterances() -> None:
    events = parse(sample("transcription_several"))
    told = [(said.speaker, said.text, said.dialect, said.start_ms) for said in events if isinstance(said, Utterance)]
    assert told == [
        ("customer", "My card was swallowed.", "en-US", START + 9_000),
        ("agent", "which branch was that", "en-GB", START + 8_000),
        ("unknown", "hm", "en-US", START + 9_900),
    ]
    assert len(events) == len(told)


def test_a_partial_utterance_never_takes_the_key_of_the_finished_one() -> None:
    envelope = sample("transcription_partial")
    first = parse(envelope)[0]
    envelope["eventBody"]["transcripts"][0]["alternatives"][0]["transcript"] = "my card was swallowed"
    second = parse(envelope)[0]
    assert isinstance(first, Utterance)
    assert not first.final
    assert len({first.id, second.id, SAID.id}) == 3
    assert first.id.startswith(SAID.id)


def test_each_communication_counts_from_its_own_start() -> None:
    envelope = sample("transcription")
    envelope["eventBody"] |= {"communicationId": "consult", "sessionStartTimeMs": START + 60_000}
    (said,) = parse(envelope)
    assert isinstance(said, Utterance)
    assert (said.start_ms, said.end_ms) == (START + 69_000, START + 71_400)
    assert said.id != SAID.id


def test_a_message_without_words_tells_the_state_of_the_transcription() -> None:
    event = only("transcription_status")
    assert isinstance(event, TranscriptionStatus)
    assert (event.status, event.communication, event.at_ms) == ("SESSION_ONGOING", COMMUNICATION, START + 12_345)


@pytest.mark.parametrize("alternatives", [[], [{"offsetMs": 5}], [{"transcript": "", "decoratedTranscript": ""}], None])
def test_a_transcript_without_text_is_no_utterance(alternatives: list[dict[str, Any]] | None) -> None:
    envelope = sample("transcription")
    envelope["eventBody"]["transcripts"][0]["alternatives"] = alternatives
    (event,) = parse(envelope)
    assert isinstance(event, TranscriptionStatus)


def test_the_last_words_and_the_end_of_the_session_are_both_told() -> None:
    said, status = parse(sample("transcription_ended"))
    assert isinstance(said, Utterance)
    assert isinstance(status, TranscriptionStatus)
    assert (said.text, status.status) == ("Goodbye.", "SESSION_ENDED")


def test_what_genesys_omits_is_empty_and_no_fault() -> None:
    envelope = sample("transcription")
    body = envelope["eventBody"]
    body["transcripts"] = [
        {"utteranceId": "u", "alternatives": [{"transcript": "yes", "offsetMs": 10}], "dialect": None},
    ]
    for name in ("eventTime", "status", "organizationId", "conversationId"):
        del body[name]
    (said,) = parse(envelope)
    assert said == Utterance(
        id=f"{CALL}:{COMMUNICATION}:u",
        conversation=CALL,
        at_ms=START + 10,
        communication=COMMUNICATION,
        utterance="u",
        speaker="unknown",
        text="yes",
        start_ms=START + 10,
        end_ms=START + 10,
    )


@pytest.mark.parametrize(
    ("told", "right"), [("en-us", "en-US"), ("EN_gb", "en-GB"), ("de", "de"), ("zh-Hans-CN", "zh-Hans-CN"), ("", "")]
)
def test_a_dialect_has_one_spelling(told: str, right: str) -> None:
    envelope = sample("transcription")
    envelope["eventBody"]["transcripts"][0]["dialect"] = told
    (said,) = parse(envelope)
    assert isinstance(said, Utterance)
    assert said.dialect == right


@pytest.mark.parametrize(
    "told",
    [1_767_348_012_345, "2026-01-02T10:00:12.345Z", "2026-01-02T11:00:12.345+01:00", "2026-01-02T10:00:12.345678Z"],
)
def test_times_are_read_from_epoch_milliseconds_and_from_iso_8601(told: int | str) -> None:
    envelope = sample("customer_end")
    envelope["eventBody"]["eventTime"] = told
    assert parse(envelope)[0].at_ms == 1_767_348_012_345


def test_a_time_without_a_fraction_is_a_whole_second() -> None:
    envelope = sample("customer_end")
    envelope["eventBody"]["eventTime"] = "2026-01-02T10:00:12Z"
    assert parse(envelope)[0].at_ms == START + 12_000


def test_acw_and_wrapup_tell_one_fact() -> None:
    acw, wrapup = only("acw"), only("wrapup")
    assert isinstance(acw, WrapUp)
    assert acw.id == wrapup.id
    assert (acw.code, acw.notes, acw.duration_ms) == (CODE, "New card ordered", 24_870)


@pytest.mark.parametrize("field", ["wrapupCode", "wrapupNotes"])
def test_after_call_work_changed_later_is_a_new_fact(field: str) -> None:
    changed = sample("wrapup")
    changed["eventBody"][field] = "something else"
    assert parse(changed)[0].id != only("acw").id


def test_a_summary_that_failed_has_no_text_and_another_key_than_its_later_success() -> None:
    event = only("bot_summary_failed")
    assert isinstance(event, SummaryReady)
    assert (event.text, event.error, event.conversation) == ("", "CONVERSATION_TOO_SHORT", CALL)
    failed = sample("user_summary")
    failed["eventBody"] |= {"errorType": "RATE_LIMITED", "summary": None}
    assert parse(failed)[0].id != only("user_summary").id


@pytest.mark.parametrize(
    ("name", "conversation"),
    [
        ("acd_start", CALL),
        ("acd_start_trigger", CALL),
        ("suggestion_knowledge", CALL),
        ("sentiment", CALL),
        ("presence", ""),
        ("socket_closing", ""),
    ],
)
def test_a_topic_without_a_class_is_kept_with_its_conversation(name: str, conversation: str) -> None:
    event = only(name)
    assert isinstance(event, Unknown)
    assert event.conversation == conversation
    assert event.body == sample(name)["eventBody"]
    assert event.id == event_id(event.topic, event.body)


def test_the_conversation_of_an_unknown_topic_may_stand_in_the_topic_alone() -> None:
    (event,) = parse({"topicName": f"v2.conversations.{CALL}.agentchecklist", "eventBody": {}})
    assert event.conversation == CALL


def test_a_pattern_for_a_topic_gives_the_id_that_the_real_topic_gives() -> None:
    assert only("acd_start_trigger") == only("acd_start")


def test_open_messaging_receipts_are_kept_but_are_no_messages() -> None:
    (event,) = parse({**sample("open_message"), "type": "Receipt"})
    assert isinstance(event, Unknown)
    assert (event.topic, event.conversation) == ("open_messaging.receipt", CHAT)


def test_a_conversation_has_ended_when_every_customer_that_came_has_left() -> None:
    came, left = only("customer_start"), only("customer_end")
    second = ConversationStarted(id="2", conversation=CALL, at_ms=0, participant="second")
    gone = CustomerLeft(id="3", conversation=CALL, at_ms=9, participant="second")
    assert not has_ended([])
    assert not has_ended([came])
    assert has_ended([came, left])
    assert has_ended([left])
    assert not has_ended([came, second, left])
    assert has_ended([gone, left, second, came])
    assert ended(gone).id == f"{CALL}:ended"
    assert (ended(gone).conversation, ended(gone).at_ms) == (CALL, 9)
