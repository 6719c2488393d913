"""From rows of the views to records."""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from bridge.ports import Callback, Delivery, Record, Stored

Row = tuple[Any, ...]


def pack(body: bytes) -> bytes:
    """A body as the file keeps it: level 1 makes a quarter of a JSON event, for 30 us a 2 KB body."""
    return zlib.compress(body, 1)


def stored_of(row: Row) -> Stored:
    """A row of `stored`."""
    seq, event, conversation, kind, body, received_ms = row
    return Stored(seq, event, conversation, kind, zlib.decompress(body), received_ms)


def delivery_of(row: Row) -> Delivery:
    """A row of `delivered`."""
    return Delivery(stored_of(row[1:7]), *row[7:])


def callback_of(row: Row) -> Callback:
    """A row of `called`."""
    return Callback(*row[1:-1])


def record_of(row: Row) -> Record:
    """A row of `recorded`."""
    key, kind, conversation, handler, event, state, fields = row[1:8]
    return Record(key, kind, conversation, handler, event, state, orjson.loads(fields))
