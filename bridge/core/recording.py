"""Recordings: JSON Lines, one Genesys envelope a line as it was received, plus `receivedAt`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import repeat
from typing import Any

import orjson
from attrs import frozen

from bridge.core.genesys.envelope import decode
from bridge.core.genesys.fields import iso, moment, read_ms
from bridge.errors import PayloadError


@frozen
class Line:
    """One line. `received_ms` is None when it does not tell; `raw` has no line end."""

    received_ms: int | None
    envelope: dict[str, Any]
    raw: bytes


def read_line(raw: bytes) -> Line | None:
    """Read one line; None for a blank one. PayloadError for what is no JSON object or has a time that is none.

    EventBridge's own lines have no `receivedAt`: their `time` (whole seconds) serves.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip()
    if not raw:
        return None
    envelope = decode(raw)
    received_ms = moment(envelope, "receivedAt", "the line")
    return Line(read_ms(envelope.get("time")) if received_ms is None else received_ms, envelope, raw)


def write_line(envelope: Mapping[str, Any], received_ms: int) -> bytes:
    """The line of an envelope: as it came, with `receivedAt` (UTC, milliseconds) before it, and a line end."""
    came = {name: value for name, value in envelope.items() if name != "receivedAt"}
    try:
        return orjson.dumps({"receivedAt": iso(received_ms), **came}, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise PayloadError(f"the envelope cannot be written as JSON: {error}") from None


def interleave(recordings: Sequence[Iterable[Line]]) -> Iterator[tuple[int, Line]]:
    """The lines of several recordings by time, each with the index of its recording.

    A recording's own order is kept: a line without a time, or with an earlier one, stays behind the line before it.
    """
    numbered = (zip(repeat(index), lines) for index, lines in enumerate(recordings))
    return merge(*numbered, key=lambda pair: pair[1].received_ms or 0)
