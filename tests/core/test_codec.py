from __future__ import annotations

from typing import Any, get_args, get_type_hints

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.codec import KINDS, dump, load
from bridge.core.events import Event, Participant, QueueConversation, Speaker, Unknown, Utterance
from bridge.errors import PayloadError

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
WHOLE = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: WHOLE,
    bool: st.booleans(),
    int | None: st.none() | WHOLE,
    float | None: FLOATS,
    Speaker: st.sampled_from(get_args(Speaker)),
    tuple[str, ...]: st.lists(WORDS, max_size=3).map(tuple),
    dict[str, Any]: st.dictionaries(WORDS, JSON, max_size=3),
}


def made(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any instance: a field of a type that is not listed fails here, so that no new field goes untested."""
    return st.builds(kind, **{name: OF_TYPE[wanted] for name, wanted in get_type_hints(kind).items()})


OF_TYPE[tuple[Participant, ...]] = st.lists(made(Participant), max_size=3).map(tuple)
EVENTS = st.one_of([made(kind) for kind in KINDS.values()])

SAID = Utterance(
    id="i",
    conversation="c",
    at_ms=5,
    communication="m",
    utterance="u",
    speaker="agent",
    text="hello",
    start_ms=1,
    end_ms=2,
    confidence=0.5,
)


def stored(**changes: Any) -> bytes:
    return orjson.dumps({**orjson.loads(dump(SAID)[1]), **changes})


@given(EVENTS)
def test_load_is_the_inverse_of_dump(event: Event) -> None:
    kind, body = dump(event)
    found = load(kind, body)
    assert found == event
    assert type(found) is type(event)
    assert dump(found) == (kind, body)


def test_every_event_class_has_a_kind() -> None:
    assert {*Event.__subclasses__(), Event} == set(KINDS.values())
    assert dump(SAID)[0] == "Utterance"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", None),
        ("text", 1),
        ("conversation", ["c"]),
        ("at_ms", "5"),
        ("at_ms", True),
        ("at_ms", 5.0),
        ("at_ms", None),
        ("final", "no"),
        ("final", 1),
        ("final", None),
        ("confidence", "0.5"),
        ("confidence", True),
        ("speaker", "robot"),
        ("speaker", None),
        ("speaker", ["agent"]),
        ("fresh", 1),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(PayloadError, match=f"Utterance.*{field}"):
        load("Utterance", stored(**{field: value}))


def test_a_missing_field_is_refused_and_one_with_a_default_takes_it() -> None:
    without = orjson.loads(stored())
    del without["dialect"]
    assert load("Utterance", orjson.dumps(without)) == SAID
    del without["text"]
    with pytest.raises(PayloadError, match=r"missing @ Utterance\.text"):
        load("Utterance", orjson.dumps(without))


@pytest.mark.parametrize(
    "participants",
    ["ab", {}, [1], [[]], ["p"], [{"id": "p"}], [{"id": "p", "purpose": "agent", "communications": "ab"}]],
)
def test_a_snapshot_of_the_wrong_shape_is_refused(participants: Any) -> None:
    _, body = dump(QueueConversation(id="i", conversation="c", at_ms=0))
    with pytest.raises(PayloadError, match=r"QueueConversation\.participants"):
        load("QueueConversation", orjson.dumps({**orjson.loads(body), "participants": participants}))


@pytest.mark.parametrize("body", [[], "text", None, [["a", 1]]])
def test_an_unknown_topics_body_is_an_object(body: Any) -> None:
    with pytest.raises(PayloadError, match=r"expected dict @ Unknown\.body"):
        load("Unknown", orjson.dumps({"id": "i", "conversation": "c", "at_ms": 0, "topic": "t", "body": body}))


def test_a_number_that_is_none_cannot_be_kept() -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(PayloadError, match="Utterance cannot be kept"):
            dump(evolve(SAID, confidence=number))


def test_a_whole_number_is_a_confidence_too() -> None:
    assert load(*dump(evolve(SAID, confidence=1))) == evolve(SAID, confidence=1.0)


def test_what_json_cannot_hold_cannot_be_kept() -> None:
    for body in ({"a": "\ud800"}, {"a": object()}, {"a": 2**64}):
        with pytest.raises(PayloadError, match="Unknown cannot be kept"):
            dump(Unknown(id="i", conversation="c", at_ms=0, topic="t", body=body))


def test_a_kind_that_nobody_knows_is_refused_with_those_there_are() -> None:
    with pytest.raises(PayloadError, match=r"'Utterances'.*Utterance, WrapUp"):
        load("Utterances", b"{}")


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=40) | JSON.map(orjson.dumps))
def test_any_stored_bytes_are_an_event_or_refused(kind: str, body: bytes) -> None:
    with pytest.raises(PayloadError):
        load(kind, body)
