"""Wrappings, control frames, refusals; and whatever else may come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.codec import dump, load
from bridge.core.events import Event, Unknown
from bridge.core.genesys import decode, is_control, parse
from bridge.errors import PayloadError

CORPUS = Path(__file__).parents[1] / "corpus" / "envelopes"
TOPICS = [
    "v2.conversations.c.transcription",
    "v2.conversations.c.suggestions.thirdpartyaction",
    *(
        f"v2.detail.events.conversation.c.{kind}"
        for kind in ("customer.start", "customer.end", "user.start", "user.end", "acw", "wrapup")
    ),
    "v2.users.u.conversations",
    "v2.users.u.conversations.messages",
    "v2.routing.queues.q.conversations.calls",
    "v2.users.u.conversations.summaries",
    "v2.users.u.presence",
]


def sample(name: str) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads((CORPUS / f"{name}.json").read_text(encoding="utf-8"))
    return envelope


def refusal(envelope: dict[str, Any]) -> str:
    with pytest.raises(PayloadError) as refused:
        parse(envelope)
    assert (refused.value.status, refused.value.code) == (422, "payload")
    return refused.value.detail


# --- wrappings ----------------------------------------------------------------------------------------------------


def wrapped(bare: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One event in every form it may come in."""
    topic, body = bare["topicName"], bare["eventBody"]
    pattern = topic.replace(body.get("conversationId", "\0"), "{id}")
    return {
        "bare": bare,
        "recorded": {"receivedAt": "2026-01-02T10:00:13.000Z", **bare},
        "eventbridge": {
            "version": "0",
            "id": "of eventbridge alone",
            "detail-type": pattern,
            "time": "2026-01-02T10:00:12Z",
            "detail": {**bare, "metadata": {"CorrelationId": "another"}, "timestamp": "2026-01-02T10:00:12.350Z"},
        },
        "transformed": {"detail-type": pattern, "detail": {"eventBody": body}},
        "trigger": {"topicName": pattern, "eventBody": body},
        "trigger by detail-type": {"detail-type": pattern, "eventBody": body},
        "spread out": {"topicName": pattern, **body},
    }


@pytest.mark.parametrize(
    "name", ["transcription", "transcription_status", "customer_end", "acw", "suggestion_triggered", "acd_start"]
)
def test_every_wrapping_of_an_event_gives_equal_events(name: str) -> None:
    told = {form: parse(envelope) for form, envelope in wrapped(sample(name)).items()}
    assert told == dict.fromkeys(told, told["bare"])


def test_a_field_called_detail_makes_no_eventbridge_of_a_trigger() -> None:
    bare = sample("customer_end")
    assert parse({"topicName": bare["topicName"], **bare["eventBody"], "detail": {"eventBody": {}}}) == parse(bare)


@pytest.mark.parametrize("name", ["user_conversations", "user_summary", "presence"])
def test_two_doors_give_equal_ids_for_topics_of_users(name: str) -> None:
    bare = sample(name)
    copy = {"detail-type": "v2.users.{id}.conversations", "detail": {**bare, "timestamp": "2026-01-02T10:00:12.350Z"}}
    assert [event.id for event in parse(bare)] == [event.id for event in parse(copy)]


def test_the_order_of_fields_makes_no_other_id() -> None:
    bare = sample("acd_start")
    turned = {**bare, "eventBody": dict(reversed(bare["eventBody"].items()))}
    assert parse(bare)[0].id == parse(turned)[0].id


def test_another_body_makes_another_id() -> None:
    bare = sample("acd_start")
    other = {**bare, "eventBody": {**bare["eventBody"], "eventTime": 1}}
    assert parse(bare)[0].id != parse(other)[0].id


def test_a_missing_event_time_is_taken_from_the_wrapping() -> None:
    bare = sample("customer_end")
    del bare["eventBody"]["eventTime"]
    assert parse({**bare, "timestamp": "2026-01-02T10:00:00.005Z"})[0].at_ms == 1_767_348_000_005
    assert parse({"detail": bare, "time": "2026-01-02T10:00:00Z"})[0].at_ms == 1_767_348_000_000
    assert "eventBody.eventTime" in refusal(bare)


# --- control frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["control_heartbeat", "control_pong", "control_subscribed", "control_refused"])
def test_a_control_frame_is_no_event(name: str) -> None:
    assert is_control(sample(name))
    assert parse(sample(name)) == ()


@pytest.mark.parametrize("name", ["socket_closing", "transcription", "transcription_eventbridge", "acd_start_trigger"])
def test_an_event_is_no_control_frame(name: str) -> None:
    assert not is_control(sample(name))
    assert not is_control({**sample(name), "message": "text", "result": "200"})


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field", "value", "right"),
    [
        ("transcription", "conversationId", 7, "identifier"),
        ("transcription", "conversationId", "", "identifier"),
        ("transcription", "conversationId", "two\nlines", "identifier"),
        ("transcription", "communicationId", None, "identifier"),
        ("transcription", "communicationId", "x" * 257, "256"),
        ("transcription", "sessionStartTimeMs", None, "epoch milliseconds"),
        ("transcription", "sessionStartTimeMs", True, "epoch milliseconds"),
        ("transcription", "sessionStartTimeMs", -1, "epoch milliseconds"),
        ("transcription", "sessionStartTimeMs", 2**63, "epoch milliseconds"),
        ("transcription", "transcripts", {}, "a list"),
        ("transcription", "status", "SESSION_ENDED", "an object"),
        ("transcription", "eventTime", "2026-01-02T10:00:12", "ISO 8601"),
        ("transcription", "eventTime", "2026-01-02", "ISO 8601"),
        ("customer_start", "participantId", None, "identifier"),
        ("customer_start", "mediaType", ["VOICE"], "a string"),
        ("acw", "wrapupDurationMs", "24870", "whole number"),
        ("suggestion_triggered", "suggestionId", None, "identifier"),
        ("suggestion_triggered", "context", [], "an object"),
        ("user_summary", "summary", "text", "an object"),
        ("user_conversations", "id", None, "identifier"),
    ],
)
def test_a_field_that_is_missing_or_mistyped_is_named(name: str, field: str, value: Any, right: str) -> None:
    envelope = sample(name)
    envelope["eventBody"][field] = value
    envelope["topicName"] = envelope["topicName"].replace("3d2c9a51-6b0e-4f57-9d2a-0c8c4be1a001", "{id}")
    detail = refusal(envelope)
    assert detail.startswith(f"eventBody.{field}: ")
    assert right in detail


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        ("transcripts[0]", "utteranceId", None),
        ("transcripts[0]", "isFinal", "no"),
        ("transcripts[0]", "channel", 1),
        ("transcripts[0]", "dialect", {}),
        ("transcripts[0]", "alternatives", "text"),
        ("transcripts[0].alternatives[0]", "offsetMs", None),
        ("transcripts[0].alternatives[0]", "offsetMs", 17.5),
        ("transcripts[0].alternatives[0]", "durationMs", False),
        ("transcripts[0].alternatives[0]", "confidence", "0.9"),
        ("transcripts[0].alternatives[0]", "confidence", True),
        ("transcripts[0].alternatives[0]", "confidence", float("nan")),
        ("transcripts[0].alternatives[0]", "decoratedTranscript", 5),
        ("transcripts[0].alternatives[0]", "decoratedTranscript", "4 " * 40_000),
    ],
)
def test_a_field_deep_in_a_transcription_is_named_by_its_path(place: str, field: str, value: Any) -> None:
    envelope = sample("transcription")
    transcript = envelope["eventBody"]["transcripts"][0]
    (transcript["alternatives"][0] if "alternatives" in place else transcript)[field] = value
    assert refusal(envelope).startswith(f"eventBody.{place}.{field}: ")


def test_a_refusal_never_repeats_what_was_said() -> None:
    envelope = sample("transcription")
    envelope["eventBody"]["transcripts"][0]["alternatives"] = "my number is 555 0100"
    envelope["eventBody"]["transcripts"][0]["utteranceId"] = "my name is Jane\n"
    assert not {"555", "Jane", "number"} & set(refusal(envelope).replace(":", " ").split())


@pytest.mark.parametrize(
    "nothing",
    [{}, {"eventBody": {}}, {"topicName": ""}, {"topicName": 5, "eventBody": {}}, {"detail": {}}, {"hello": "there"}],
)
def test_what_has_no_topic_is_no_envelope(nothing: dict[str, Any]) -> None:
    assert refusal(nothing).startswith("topicName: ")


def test_a_body_that_is_no_object_is_refused() -> None:
    assert refusal({"topicName": "v2.x", "eventBody": "text"}).startswith("eventBody: a string came, an object")


def test_unknown_fields_are_no_fault() -> None:
    envelope = sample("transcription")
    more = json.loads(json.dumps(envelope))
    more["eventBody"]["fresh"] = more["eventBody"]["transcripts"][0]["fresh"] = [None, {"a": 1}]
    assert parse(more) == parse(envelope)


# --- anything -----------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8)
NAMES = st.sampled_from(
    """
    topicName eventBody detail detail-type result message channel id type conversationId communicationId state
    participantId eventTime sessionStartTimeMs transcripts utteranceId alternatives offsetMs transcript status
    suggestionId context participants purpose calls messages messageId wrapup summary
    """.split()  # noqa: SIM905 - thirty names read better as text
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.dictionaries(NAMES, JSON, max_size=4) | st.fixed_dictionaries(
    {"topicName": st.sampled_from(TOPICS), "eventBody": st.dictionaries(NAMES, JSON, max_size=8)}
)


def told(envelope: dict[str, Any]) -> list[Event] | PayloadError:
    """The events, after a way through the log."""
    try:
        return [load(*dump(event)) for event in parse(envelope)]
    except PayloadError as refused:
        return refused


@given(ENVELOPES)
@example({"topicName": "v2.x", "eventBody": {"a": "\ud800"}})
@example({"topicName": "v2.\ud800", "eventBody": {}})
@example({"topicName": "v2.x", "eventBody": {"eventTime": 10**400}})
def test_any_object_gives_events_that_can_be_kept_or_is_refused(envelope: dict[str, Any]) -> None:
    events = told(envelope)
    if isinstance(events, PayloadError):
        assert events.status == 422
    else:
        assert [event.id for event in events] == list(dict.fromkeys(event.id for event in parse(envelope)))


def read(raw: bytes | str) -> dict[str, Any] | PayloadError:
    try:
        return decode(raw)
    except PayloadError as refused:
        return refused


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'"\\ud800"')
@example(b'{"a": NaN}')
@example(b'{"a": 1e999}')
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    found = read(raw)
    if isinstance(found, PayloadError):
        assert (found.status, found.code) in {(400, "malformed"), (422, "payload")}
    else:
        assert type(found) is dict


def test_what_is_no_json_is_malformed_and_what_is_no_object_is_no_payload() -> None:
    for raw, status in ((b"", 400), (b"{", 400), (b"\xff", 400), ("\ud800", 400), (b"[]", 422), (b"7", 422)):
        with pytest.raises(PayloadError) as refused:
            decode(raw)
        assert refused.value.status == status


def test_an_unknown_topic_that_parses_but_is_too_deep_to_keep_is_refused() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return decode(b'{"topicName":"v2.x","eventBody":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}")

    (kept,) = parse(nested(253))
    assert isinstance(kept, Unknown)
    assert load(*dump(kept)) == kept
    assert "JSON" in refusal(nested(254))
    assert "JSON" in refusal(nested(1000))


def test_words_may_be_anything_since_nobody_reads_them() -> None:
    envelope = sample("transcription")
    envelope["eventBody"]["transcripts"][0]["alternatives"][0]["words"] = orjson.loads(b"[" * 900 + b"]" * 900)
    assert parse(envelope) == parse(sample("transcription"))
