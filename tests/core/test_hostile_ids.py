"""Ids go where text may not: into logs, to a CRM, into headers. So no text of a sender may become a part of one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.events import Unknown
from bridge.core.genesys import parse
from bridge.errors import PayloadError

CORPUS = Path(__file__).parents[1] / "corpus" / "envelopes"
NAMED = sorted(one.stem for one in CORPUS.glob("*.json") if not one.stem.startswith("control"))
PERSONAL = ["jane.doe@example.com", "+14155550123", "415 555 0100", "a\x00b", "\x1b[2J", "a\nb", "é", "k" * 300]
PLAIN = re.compile(r"[A-Za-z0-9._~:;=|/#${}+-]+")


def ids_of(envelope: dict[str, Any]) -> list[str]:
    """Ids and conversations of what an envelope tells; none when it is refused."""
    try:
        return [one for event in parse(envelope) for one in (event.id, event.conversation) if one]
    except PayloadError:
        return []


def with_every_text(found: Any, text: str) -> Any:
    """The same structure with one text in the place of all."""
    if isinstance(found, dict):
        return {name: with_every_text(value, text) for name, value in found.items()}
    if isinstance(found, list):
        return [with_every_text(value, text) for value in found]
    return text if isinstance(found, str) else found


@pytest.mark.parametrize("name", NAMED)
@given(text=st.sampled_from(PERSONAL) | st.text(max_size=20))
def test_no_field_of_an_envelope_brings_its_text_into_an_id(name: str, text: str) -> None:
    envelope = json.loads((CORPUS / f"{name}.json").read_text())
    body = envelope.get("eventBody", envelope)
    for field in body:
        changed = body | {field: with_every_text(body[field], text)}
        made = envelope | {"eventBody": changed} if "eventBody" in envelope else changed
        assert all(PLAIN.fullmatch(one) for one in ids_of(made)), field


@pytest.mark.parametrize("text", PERSONAL[:-1])
def test_an_unknown_topic_is_kept_and_its_text_stays_out_of_its_id(text: str) -> None:
    (event,) = parse({"topicName": f"v2.conversations.{text}.new.fact", "eventBody": {}})
    assert isinstance(event, Unknown)
    assert event.topic == f"v2.conversations.{text}.new.fact"
    assert event.id.partition(":")[0] == "topic"
    assert PLAIN.fullmatch(event.conversation or "none")


@pytest.mark.parametrize("text", PERSONAL)
def test_a_conversation_of_a_known_topic_must_be_a_plain_id(text: str) -> None:
    body = {"conversationId": text, "participantId": "p", "eventTime": 1_774_055_370_000}
    with pytest.raises(PayloadError, match=r"conversationId: a string came, an identifier"):
        parse({"topicName": "v2.detail.events.conversation.{id}.customer.start", "eventBody": body})


@pytest.mark.parametrize("usual", ["62ea6595-667f-4215-a252-12e13204ced0", "day1_call01", "a.b:c/d+e=", "7"])
def test_ids_as_services_make_them_pass(usual: str) -> None:
    body = {"conversationId": usual, "participantId": usual, "eventTime": 1_774_055_370_000}
    (event,) = parse({"topicName": "v2.detail.events.conversation.{id}.customer.start", "eventBody": body})
    assert event.id == f"{usual}:customer:{usual}:started"
