from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.core.sse import KEEP_ALIVE, FrameTooLarge, Parser, ServerEvent, dump

unhurried = settings(deadline=None)


def parsed(stream: bytes, *, max_frame: int = 2**21) -> list[ServerEvent]:
    parser = Parser(max_frame)
    events = parser.feed(stream)
    parser.close()
    return events


def message(data: str, last_id: str = "", event: str = "message", retry: int | None = None) -> ServerEvent:
    return ServerEvent(event, data, last_id, retry)


# Each row: what the case is, the bytes, the events. Written from the standard's rules and its own examples.
CASES: list[tuple[str, bytes, list[ServerEvent]]] = [
    ("three lines are one message", b"data: YHOO\ndata: +2\ndata: 10\n\n", [message("YHOO\n+2\n10")]),
    ("an empty field and a blank line", b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    ("one space after the colon is not data", b"data:test\n\ndata: test\n\n", [message("test"), message("test")]),
    ("only one space, and no tab", b"data:  x\n\ndata:\tx\n\n", [message(" x"), message("\tx")]),
    ("a colon in the value", b"data: a:b: c\n\n", [message("a:b: c")]),
    ("LF, CR and CRLF", b"data: a\n\ndata: b\r\rdata: c\r\n\r\n", [message("a"), message("b"), message("c")]),
    ("CRLF and LF", b"data: a\r\n\ndata: b\n\n", [message("a"), message("b")]),
    ("mixed line ends", b"data: a\r\ndata: b\rdata: c\n\r", [message("a\nb\nc")]),
    (
        "LF after CR is one end, LF CR are two",
        b"data: a\r\n\r\ndata: b\n\rdata: c\n\n",
        [message("a"), message("b"), message("c")],
    ),
    ("a byte order mark at the start", b"\xef\xbb\xbfdata: x\n\n", [message("x")]),
    ("a second one is part of a field's name", b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\ndata: y\n\n", [message("y")]),
    (
        "later it is text",
        b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbf\n\n",
        [message("a"), message("\ufeff")],
    ),
    ("a mark and then the end of a line", b"\xef\xbb\xbf\ndata: x\n\n", [message("x")]),
    ("comments", b": hello\n:\n:data: no\ndata: x\n\n", [message("x")]),
    ("unknown fields and cases", b"Data: no\n data: no\ndatax: no\ndat: no\ndata : no\nx\ndata: x\n\n", [message("x")]),
    (
        "an event's name, then the default",
        b"event: add\ndata: 1\n\ndata: 2\n\n",
        [message("1", event="add"), message("2")],
    ),
    ("the last name counts", b"event: a\nevent: b\ndata: 1\n\n", [message("1", event="b")]),
    ("an empty name is the default", b"event: a\nevent\ndata: 1\n\n", [message("1")]),
    ("a name without data is forgotten", b"event: a\n\ndata: 1\n\n", [message("1")]),
    ("nothing without data", b"\n\n\nid: 1\n\nevent: x\n\nretry: 1\n\n: c\n\n", []),
    ("an id stays", b"id: 7\ndata: a\n\ndata: b\n\n", [message("a", "7"), message("b", "7")]),
    ("an id without data stays too", b"id: 7\n\ndata: b\n\n", [message("b", "7")]),
    ("an empty id resets it", b"id: 7\ndata: a\n\nid\ndata: b\n\n", [message("a", "7"), message("b")]),
    ("an id with NUL is ignored", b"id: 7\nid: 8\x009\ndata: a\n\n", [message("a", "7")]),
    ("NUL elsewhere is text", b"event: \0\ndata: \0\n\n", [message("\0", event="\0")]),
    ("an id after the data is this event's", b"data: a\nid: 7\n\n", [message("a", "7")]),
    ("retry", b"retry: 1500\ndata: a\n\ndata: b\n\n", [message("a", retry=1500), message("b")]),
    (
        "retry takes digits of ASCII only",
        b"retry: 1e3\nretry:  1\nretry: -1\nretry:\nretry: \xd9\xa1\ndata: a\n\n",
        [message("a")],
    ),
    (
        "retry with zeros before it",
        b"retry: 0005\ndata: a\n\nretry: 000\ndata: b\n\n",
        [message("a", retry=5), message("b", retry=0)],
    ),
    ("no empty line at the end", b"data: a\n\ndata: b\nid: 9\n", [message("a")]),
    ("not even a line's end", b"data: a\n\ndata: b", [message("a")]),
    (
        "other line separators are text",
        "data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode(),
        [message("a\x0b\x0c\x1c\x85\u2028b")],
    ),
    ("a truncated sequence is one U+FFFD", b"data: \xe2\x82\ndata: \xf0\x9f\x98x\n\n", [message("\ufffd\n\ufffdx")]),
    ("surrogates and overlong forms", b"data: \xed\xa0\x80 \xc0\xaf\n\n", [message("\ufffd" * 3 + " " + "\ufffd" * 2)]),
    ("invalid bytes in a name and an id", b"event: \xff\nid: \xfe\ndata: x\n\n", [message("x", "\ufffd", "\ufffd")]),
]
ROWS = pytest.mark.parametrize(("stream", "events"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


@ROWS
def test_stream_gives_the_standards_events(stream: bytes, events: list[ServerEvent]) -> None:
    assert parsed(stream) == events


@ROWS
def test_stream_in_single_bytes_gives_the_same_events(stream: bytes, events: list[ServerEvent]) -> None:
    parser = Parser()
    assert [event for byte in stream for event in parser.feed(bytes([byte]))] == events


LINES = [
    *(b"data: x", b"data:", b"data", b"data: \xf0\x9f\x98\x80", b"event: e", b"id: 1", b"id: \0", b"retry: 20", b":c"),
    *(b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xe2\x82", b"\xff", b" ", b":", b""),
]
streams = st.one_of(st.lists(st.sampled_from(LINES), max_size=30).map(b"".join), st.binary(max_size=80))


def reference(stream: bytes) -> list[ServerEvent]:
    """The standard's algorithm word for word, on the decoded text as a whole."""
    text = decoded(stream).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events, data, name, last_id, retry = [], "", "", "", None
    for line in text.split("\n")[:-1]:
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(ServerEvent(name or "message", data.removesuffix("\n"), last_id, retry))
            data, name, retry = "", "", None
        elif key == "data":
            data += value + "\n"
        elif key == "event":
            name = value
        elif key == "id" and "\0" not in value:
            last_id = value
        elif key == "retry" and value and set(value) <= set("0123456789"):
            retry = int(value)
    return events


# First byte -> (how many follow, range of the second): the table of the Encoding standard's UTF-8 decoder.
LEADS = dict.fromkeys(range(0xC2, 0xE0), (1, 0x80, 0xBF))
LEADS |= {byte: (2, 0xA0 if byte == 0xE0 else 0x80, 0x9F if byte == 0xED else 0xBF) for byte in range(0xE0, 0xF0)}
LEADS |= {byte: (3, 0x90 if byte == 0xF0 else 0x80, 0x8F if byte == 0xF4 else 0xBF) for byte in range(0xF0, 0xF5)}


def decoded(stream: bytes) -> str:
    """UTF-8 by the Encoding standard's state machine: one U+FFFD for each maximal subpart."""
    text, at = "", 0
    while at < len(stream):
        needed, low, high = LEADS.get(stream[at], (0, 0, 0))
        end = at + 1
        while end <= at + needed and end < len(stream) and low <= stream[end] <= high:
            low, high, end = 0x80, 0xBF, end + 1
        whole = end == at + 1 + needed and (needed or stream[at] < 0x80)
        text += stream[at:end].decode() if whole else "\ufffd"
        at = end
    return text


@unhurried
@given(stream=streams)
@example(b"data: \xe2\r\n\r\n\xf0\x90\n")
def test_any_bytes_give_what_the_standards_algorithm_gives(stream: bytes) -> None:
    assert parsed(stream) == reference(stream)


@unhurried
@given(stream=streams, steps=st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_any_cut_gives_the_events_of_the_whole(stream: bytes, steps: list[int]) -> None:
    parser, events, rest = Parser(), [], stream
    for step in cycle(steps):
        events += parser.feed(rest[:step])
        rest = rest[step:]
        if not rest:
            break
    whole = Parser()
    assert events == whole.feed(stream)
    assert parser.last_event_id == whole.last_event_id


def test_event_is_given_with_its_empty_line_and_not_with_the_byte_after() -> None:
    parser = Parser()
    assert parser.feed(b"data: a\r\n\r") == [message("a")]
    assert parser.feed(b"\ndata: b\n\n") == [message("b")]


def test_id_of_an_unfinished_event_is_not_the_last_event_id() -> None:
    parser = Parser()
    parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    parser.close()
    assert parser.last_event_id == "1"


def test_close_drops_what_is_unfinished() -> None:
    parser = Parser()
    parser.feed(b"event: x\ndata: a\nda")
    parser.close()
    assert parser.feed(b"ta: b\n\ndata: c\n\n") == [message("c")]


def test_frame_of_a_mebibyte_passes_at_once_and_in_thousands_of_pieces() -> None:
    frame = b"data: " + b"x" * 2**20 + b"\n\n"
    assert parsed(frame) == [message("x" * 2**20)]
    parser = Parser()
    pieces = [frame[at : at + 200] for at in range(0, len(frame), 200)]
    assert [event.data for piece in pieces for event in parser.feed(piece)] == ["x" * 2**20]


BOM = b"\xef\xbb\xbf"
TOO_LARGE = [
    b"data: " + b"x" * 94 + b"\n",
    b"data: 1234567890\n" * 6 + b"data: 12345\n",
    b":" * 100,
    b"\n" + b"id" * 50,
    BOM + b"data: 1",
]


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("stream", TOO_LARGE)
def test_frame_within_the_limit_passes_and_a_byte_more_is_refused(stream: bytes, step: int) -> None:
    def fed(max_frame: int) -> None:
        parser, whole = Parser(max_frame), stream + b"\n\n"
        for at in range(0, len(whole), step):
            parser.feed(whole[at : at + step])

    size = len(stream.replace(b"\n", b""))
    fed(size)
    with pytest.raises(FrameTooLarge, match=f"limit of {size - 1} bytes"):
        fed(size - 1)


def test_limit_is_of_one_event_and_not_of_the_stream() -> None:
    assert len(parsed(b"data: 12345\n\n" * 1000, max_frame=11)) == 1000


def test_line_that_never_ends_is_refused_while_it_comes() -> None:
    parser = Parser(1000)
    assert [parser.feed(b"x" * 100) for _ in range(10)] == [[]] * 10
    with pytest.raises(FrameTooLarge):
        parser.feed(b"x")


def test_retry_of_thousands_of_digits_is_just_a_long_time() -> None:
    (event,) = parsed(b"retry: " + b"9" * 9000 + b"\ndata: x\n\n")
    assert event.retry == 999_999_999_999_999_999


fields = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
data = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=40)


@unhurried
@given(name=fields.filter(bool), text=data, last_id=fields, retry=st.none() | st.integers(0, 10**9))
def test_dumped_event_is_parsed_back(name: str, text: str, last_id: str, retry: int | None) -> None:
    event = ServerEvent(name, text, last_id, retry)
    assert parsed(KEEP_ALIVE + dump(event) + KEEP_ALIVE) == [event]


def test_dump_writes_each_line_of_data_and_leaves_out_defaults() -> None:
    assert dump(message("a\r\nb\rc\n")) == b"data: a\ndata: b\ndata: c\ndata: \n\n"
    assert dump(message("x", "7", "card", 100)) == b"event: card\nid: 7\nretry: 100\ndata: x\n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "\0"])
def test_dump_refuses_a_name_or_id_that_would_break_the_line(bad: str) -> None:
    with pytest.raises(ValueError, match="line end or NUL"):
        dump(message("x", event=bad))
    with pytest.raises(ValueError, match="line end or NUL"):
        dump(message("x", last_id=bad))


def test_dump_of_a_lone_surrogate_is_still_utf_8() -> None:
    assert parsed(dump(message("\ud800"))) == [message("?")]
