from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.chat import DONE, MalformedError, Part, Reading, dump_request, header_key, parse_frame
from bridge.core.faults import Fault

BROKEN = [
    "",
    "{",
    "[1]",
    '"text"',
    "null",
    '{"choices": 5}',
    '{"choices": ["hello"]}',
    '{"choices": [{"delta": {"content": 5}}]}',
    '{"choices": [{"delta": 5}]}',
    '{"choices": [{"delta": {}, "finish_reason": 1}]}',
    "[" * 100_000,
]


def frame(**fields: object) -> str:
    return json.dumps(fields)


def said(text: str | None, *, index: int = 0, finish: str | None = None) -> str:
    return frame(choices=[{"index": index, "delta": {"content": text}, "finish_reason": finish}])


def test_a_request_asks_for_a_stream_that_ends_with_its_usage() -> None:
    body = json.loads(dump_request("m", [("system", "s"), ("user", "u")], max_tokens=7, temperature=0.5))
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_lone_surrogate_in_a_prompt_is_no_crash() -> None:
    body = json.loads(dump_request("m", [("user", "a\ud800b")], max_tokens=1, temperature=0))
    assert body["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize("key", ["", "two words", "a\r\nX-Evil: 1", "é", "\ud800", "k" * 256])
def test_a_key_that_no_header_can_carry_becomes_its_digest(key: str) -> None:
    made = header_key(key)
    assert len(made) == 64
    assert made == header_key(key) != header_key(key + "!")


def test_a_usual_key_is_sent_as_it_is() -> None:
    assert header_key("conv:utt-1:assist.suggest:1") == "conv:utt-1:assist.suggest:1"


def test_a_frame_brings_the_text_of_choice_0_only() -> None:
    choices = [{"index": 1, "delta": {"content": "other"}}, {"index": 0, "delta": {"content": "ours"}}]
    assert parse_frame("message", frame(choices=choices)) == Part("ours")


@pytest.mark.parametrize(
    "choice",
    [{"delta": {"content": "hi"}}, {"index": None, "delta": {"content": "hi"}}, {"message": {"content": "hi"}}],
)
def test_a_choice_without_an_index_is_choice_0(choice: dict[str, object]) -> None:
    assert parse_frame("message", frame(choices=[choice])).text == "hi"


@pytest.mark.parametrize(
    "data", [said(None), said(""), "{}", frame(choices=[]), frame(choices=None), frame(choices=[{}])]
)
def test_a_frame_without_text_is_no_mistake(data: str) -> None:
    assert parse_frame("message", data) == Part()


@pytest.mark.parametrize("choices", [[], [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]])
def test_usage_is_taken_with_choices_and_without(choices: list[object]) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert parse_frame("message", frame(choices=choices, usage=usage)).usage == (3, 4)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        {},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": -1},
        {"prompt_tokens": 2**62, "completion_tokens": 2**62},  # no budget can hold their sum
    ],
)
def test_usage_that_is_none_is_left_out(usage: object) -> None:
    assert parse_frame("message", frame(usage=usage)).usage is None


@pytest.mark.parametrize("data", BROKEN)
def test_what_has_the_wrong_shape_is_malformed(data: str) -> None:
    with pytest.raises(MalformedError):
        parse_frame("message", data)


@pytest.mark.parametrize(
    ("event", "data", "fault"),
    [
        ("message", '{"error": {"message": "m", "type": "t", "code": "c"}}', Fault("t", "c", "m")),
        ("message", '{"error": "m"}', Fault(message="m")),
        ("message", '{"error": {"code": 503}}', Fault(code="503", status=503)),
        ("message", '{"error": {"status": 400, "code": null}}', Fault(status=400)),
        ("error", '{"message": "m"}', Fault(message="m")),
        ("error", "out of memory", Fault(message="out of memory")),
        ("error", "[]", Fault()),
    ],
)
def test_an_error_frame_is_known_in_all_its_forms(event: str, data: str, fault: Fault) -> None:
    assert parse_frame(event, data).fault == fault


def test_an_error_that_is_null_is_none() -> None:
    assert parse_frame("message", frame(error=None, choices=[{"delta": {"content": "x"}}])) == Part("x")


def test_a_reading_counts_the_malformed_and_goes_on() -> None:
    reading = Reading()
    assert [reading.take("message", data) for data in (said("a"), *BROKEN, said("b"))] == [
        "a",
        *[""] * len(BROKEN),
        "b",
    ]
    assert reading.malformed == len(BROKEN)
    assert not reading.finished


def test_a_reading_is_finished_by_a_reason_or_by_done() -> None:
    by_reason, by_done = Reading(), Reading()
    by_reason.take("message", said(None, finish="length"))
    by_done.take("message", DONE)
    assert by_reason.finished
    assert by_reason.finish_reason == "length"
    assert not by_reason.done
    assert by_done.finished


def test_what_comes_later_does_not_take_away_the_reason_or_the_usage() -> None:
    reading = Reading()
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    for data in (said("a", finish="stop"), frame(choices=[], usage=usage), frame(choices=[])):
        reading.take("message", data)
    assert (reading.finish_reason, reading.usage) == ("stop", (1, 2))


names = st.sampled_from(["choices", "delta", "content", "error", "usage", "index", "message", "code", "status", "stop"])
frames = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow  # two hundred made-up frames
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["message", "error", ""]), frames)
def test_no_frame_is_a_crash(event: str, payload: object) -> None:
    try:
        part = parse_frame(event, json.dumps(payload))
    except MalformedError:
        return
    assert isinstance(part.text, str)
