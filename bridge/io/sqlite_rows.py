"""From rows of the views to records."""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from bridge.ports import Callback, Delivery, Record, Stored

Row = tuple[Any, ...]

_WORTH_PACKING = 1024
"""Bytes."""
_PACKED = b"x"
"""How everything begins that zlib makes with a window of 32 KB, and no JSON."""


def pack(body: bytes) -> bytes:
    """A body as the file keeps it. Level 1 makes a quarter of a large JSON event. A small one, such as an utterance,
    stays as it is: it would lose little, and to compress it costs the event loop more than the writer's thread.
    """
    plain = len(body) < _WORTH_PACKING and not body.startswith(_PACKED)
    return body if plain else zlib.compress(body, 1)


def unpack(kept: bytes) -> bytes:
    """The body again."""
    return zlib.decompress(kept) if kept.startswith(_PACKED) else kept


def stored_of(row: Row) -> Stored:
    """A row of `stored`."""
    seq, event, conversation, kind, body, received_ms = row
    return Stored(seq, event, conversation, kind, unpack(body), received_ms)


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
