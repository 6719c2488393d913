"""Server-sent events, from bytes to events and back: the event-stream format of the WHATWG HTML standard, section 9.2.

A line ends with LF, CR or CRLF, an event with an empty line, and these bytes are never part of a longer UTF-8 sequence:
bytes are divided first and decoded afterwards, with the same result as the other way round.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

KEEP_ALIVE: Final = b":\n\n"
"""A comment: it keeps a quiet connection open and is no event."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(r"\r\n|\r|\n")
_NOT_IN_A_FIELD = re.compile(r"[\r\n\0]")


class FrameTooLarge(ValueError):  # noqa: N818 - the name says what is wrong
    """A line, or the data of one event, is larger than we keep."""


@frozen
class ServerEvent:
    """One event. `id` is the last one seen, of this event or an earlier one; `retry` (milliseconds) its own or None."""

    event: str
    data: str
    id: str = ""
    retry: int | None = None


@define
class Parser:
    """Takes the bytes of one response as they come, cut anywhere, and gives each event as soon as its empty line ends.

    `max_frame` (bytes) is a security limit: the most that is kept of one line, and of the data of one event.
    """

    max_frame: int = 2 * 1024 * 1024
    last_event_id: str = field(default="", init=False)
    """What a new connection would send as `Last-Event-ID`: the id at the last empty line."""

    _begun: bool = field(default=False, init=False)
    _after_cr: bool = field(default=False, init=False)
    _partial: bytearray = field(factory=bytearray, init=False)
    _data: list[bytes] = field(factory=list, init=False)
    _data_size: int = field(default=0, init=False)
    _event: str = field(default="", init=False)
    _id: str = field(default="", init=False)
    _retry: int | None = field(default=None, init=False)

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that this chunk completes.

        Raises FrameTooLarge; the events before it in the same chunk are lost, and the parser is of no more use.
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF
            self._after_cr = False
        if not chunk:
            return []
        lines = chunk.splitlines()  # of bytes: at LF, CR and CRLF only
        self._after_cr = chunk.endswith(b"\r")
        rest = b"" if self._after_cr or chunk.endswith(b"\n") else lines.pop()
        if lines:
            lines[0] = self._first(lines[0])
        events = self._events(lines)
        if rest:
            self._partial += rest  # grows in place: linear however small the chunks are
            self._check(len(self._partial))
        return events

    def close(self) -> None:
        """The response has ended: what has no empty line after it is dropped."""
        self._partial.clear()
        self._reset()

    def _first(self, line: bytes) -> bytes:
        """A line with what earlier chunks held of it; the response's very first one without its byte order mark."""
        if self._partial:
            line = bytes(self._partial + line)
            self._partial.clear()
        if not self._begun:
            self._begun = True
            self._check(len(line))
            line = line.removeprefix(_BOM)
        return line

    def _events(self, lines: list[bytes]) -> list[ServerEvent]:
        events = []
        for line in lines:
            if line.startswith(b"data: "):
                self._add_data(line[6:], len(line))
            elif line:
                self._field(line)
            else:
                if self._data:
                    events.append(self._finished())
                self.last_event_id = self._id
                self._reset()
        return events

    def _field(self, line: bytes) -> None:
        """Any line but an empty one. Comments and fields that nobody knows have no effect."""
        self._check(len(line))
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add_data(value, len(line))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():  # of bytes: 0 to 9 only
            self._retry = int(value.lstrip(b"0")[:18] or b"0")  # int() refuses thousands of digits

    def _add_data(self, value: bytes, size: int) -> None:
        self._data.append(value)
        self._data_size += size
        self._check(self._data_size)

    def _finished(self) -> ServerEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        # Python's decoder puts one U+FFFD for each maximal subpart, as the Encoding standard asks.
        return ServerEvent(self._event or "message", data.decode("utf-8", "replace"), self._id, self._retry)

    def _reset(self) -> None:
        self._data.clear()
        self._data_size = 0
        self._event = ""
        self._retry = None

    def _check(self, size: int) -> None:
        if size > self.max_frame:
            raise FrameTooLarge(f"a server-sent event is larger than the limit of {self.max_frame} bytes")


def dump(event: ServerEvent) -> bytes:
    """An event on the wire. CR and CRLF in its data become LF: the format has no way to carry them.

    Raises ValueError for a line end or NUL in its name or id, which would begin a field of its own or be ignored.
    """
    lines = [f"data: {line}\n" for line in _LINE_END.split(event.data)]
    if event.retry is not None:
        lines.insert(0, f"retry: {event.retry}\n")
    if event.id:
        lines.insert(0, f"id: {_one_line(event.id)}\n")
    if event.event != "message":
        lines.insert(0, f"event: {_one_line(event.event)}\n")
    return ("".join(lines) + "\n").encode("utf-8", "replace")


def _one_line(value: str) -> str:
    if _NOT_IN_A_FIELD.search(value):
        raise ValueError(f"{value!r} cannot be the name or id of an event: it holds a line end or NUL")
    return value
