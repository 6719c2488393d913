from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.recording import Line, interleave, read_line, write_line
from bridge.errors import PayloadError

ENVELOPE = {"topicName": "v2.x", "version": "2", "eventBody": {"ä": [1, None]}, "metadata": {"CorrelationId": "1"}}
AT = 1_767_348_012_345


def line(received_ms: int | None, name: str) -> Line:
    return Line(received_ms, {"name": name}, b"")


def order(*recordings: list[Line]) -> list[str]:
    return [line.envelope["name"] for _, line in interleave(recordings)]


def test_a_written_line_is_the_envelope_as_it_came_and_its_time() -> None:
    raw = write_line(ENVELOPE, AT)
    assert raw.endswith(b"}\n")
    assert raw.count(b"\n") == 1
    assert orjson.loads(raw) == {"receivedAt": "2026-01-02T10:00:12.345Z", **ENVELOPE}


def test_a_written_line_is_read_again_and_its_time_can_be_replaced() -> None:
    read = read_line(write_line(ENVELOPE, AT))
    assert read is not None
    assert read.received_ms == AT
    assert read.raw == write_line(ENVELOPE, AT).rstrip(b"\n")
    again = read_line(write_line(read.envelope, AT + 1))
    assert again is not None
    assert again.received_ms == AT + 1


@given(st.integers(0, 32_503_680_000_000))
def test_every_time_survives_to_the_millisecond(at_ms: int) -> None:
    read = read_line(write_line(ENVELOPE, at_ms))
    assert read is not None
    assert read.received_ms == at_ms


def test_the_line_of_eventbridge_has_the_time_of_its_envelope() -> None:
    read = read_line(b'{"detail-type":"v2.x","time":"2026-01-02T10:00:12Z","detail":{}}')
    assert read is not None
    assert read.received_ms == 1_767_348_012_000


def test_a_time_that_is_the_senders_own_affair_is_none_of_the_line() -> None:
    assert read_line(b'{"topicName":"v2.x","time":"half past nine"}') == Line(
        None, {"topicName": "v2.x", "time": "half past nine"}, b'{"topicName":"v2.x","time":"half past nine"}'
    )


@pytest.mark.parametrize("raw", [b"", b"\n", b" \t\r\n", b"\xef\xbb\xbf\n"])
def test_a_blank_line_is_none(raw: bytes) -> None:
    assert read_line(raw) is None


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault() -> None:
    assert read_line(b'\xef\xbb\xbf{"a":1}\r\n') == Line(None, {"a": 1}, b'{"a":1}')


@pytest.mark.parametrize(
    ("raw", "status", "named"),
    [(b"{", 400, "not JSON"), (b"[]", 422, "object"), (b'{"receivedAt":"noon"}', 422, "the line.receivedAt")],
)
def test_a_line_that_is_none_says_what_is_wrong(raw: bytes, status: int, named: str) -> None:
    with pytest.raises(PayloadError, match=named) as refused:
        read_line(raw)
    assert refused.value.status == status


def test_what_json_cannot_hold_is_not_written() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    with pytest.raises(PayloadError, match="cannot be written"):
        write_line({"eventBody": deep}, AT)


def test_recordings_interleave_by_time() -> None:
    assert order([line(1, "a"), line(4, "b")], [line(2, "c"), line(3, "d"), line(5, "e")]) == ["a", "c", "d", "b", "e"]


def test_at_one_time_the_first_recording_comes_first() -> None:
    assert order([line(1, "a"), line(1, "b")], [line(1, "c")]) == ["a", "b", "c"]


def test_a_line_without_a_time_stays_behind_the_one_before() -> None:
    assert order([line(None, "a"), line(5, "b"), line(None, "c")], [line(4, "d"), line(6, "e")]) == list("adbce")


def test_a_line_that_came_late_stays_behind_the_one_before() -> None:
    assert order([line(5, "a"), line(3, "b")], [line(4, "c"), line(6, "d")]) == list("cabd")


def test_each_line_comes_with_the_index_of_its_recording() -> None:
    assert [index for index, _ in interleave([[line(2, "a")], [], [line(1, "b")]])] == [2, 0]
