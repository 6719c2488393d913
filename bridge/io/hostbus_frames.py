"""What the processes of one host say to one another: a datagram names who sent it, and holds frames. Any bytes can be
read; what is no frame is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple


class Kind(IntEnum):
    """What a frame tells of its channel."""

    MESSAGE = 1
    """A message."""
    KEPT = 2
    """A message that is to be kept."""
    OURS = 3
    """From now on the sender keeps the channel's message: whatever others keep of it is out of date."""
    WANT = 4
    """The sender listens to the channel since `at`. Said again every second; not said for a while, it ends."""
    LEAVE = 5
    """The sender listens to it no longer."""
    LOST = 6
    """Messages were lost on their way to you, and no more will come until you say WANT again."""


LARGEST = 65_536
"""Bytes of a datagram. A card has a few thousand."""

_MARK = b"bridge\x01"
_HEAD = Struct("!BdII")


class Frame(NamedTuple):
    """`at`: when its sender said it, in seconds of the clock that the host's processes share."""

    kind: int
    at: float
    channel: str
    body: bytes


def write_prefix(sender: str) -> bytes:
    """What every datagram of this sender begins with. Its name has at most 255 letters of ASCII."""
    return _MARK + bytes([len(sender)]) + sender.encode("ascii")


def write_frame(kind: Kind, at: float, channel: str, body: bytes = b"") -> bytes:
    """One frame; a datagram may hold several."""
    name = channel.encode("utf-8", "surrogatepass")
    return _HEAD.pack(kind, at, len(name), len(body)) + name + body


def read_datagram(datagram: bytes) -> tuple[str, Iterator[Frame]]:
    """Its sender, and its frames up to the first that is none. Not one of ours: "" and nothing."""
    start = len(_MARK) + 1
    if not datagram.startswith(_MARK) or len(datagram) < start:
        return "", iter(())
    end = start + datagram[start - 1]
    return datagram[start:end].decode("ascii", "replace"), _read_frames(datagram, end)


def _read_frames(datagram: bytes, start: int) -> Iterator[Frame]:
    while start + _HEAD.size <= len(datagram):
        kind, at, name_size, body_size = _HEAD.unpack_from(datagram, start)
        name_start = start + _HEAD.size
        body_start = name_start + name_size
        start = body_start + body_size
        if start > len(datagram):
            return
        try:
            channel = datagram[name_start:body_start].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return
        yield Frame(kind, at, channel, datagram[body_start:start])
