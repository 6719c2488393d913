"""The way to one other process of the host: a datagram socket that is never waited for."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import define, field

from bridge.io.hostbus_frames import LARGEST, Kind, write_frame

BACKLOG = 1_048_576
"""Bytes that may wait here for one process. A socket takes as few as ten datagrams before it is full."""


@define(eq=False)
class Peer:
    """What waits goes out in order, many frames a datagram, when the other socket has room; beyond `BACKLOG` frames are
    lost, and once there is room again the other side is told of which channels.
    """

    path: Path
    prefix: bytes
    on_gone: Callable[[Peer], None]
    wants: dict[str, float] = field(init=False, factory=dict)
    """{channel: when it last said that it listens to it}"""
    _lost: set[str] = field(init=False, factory=set)
    """Channels whose losses the other side does not know of yet."""
    _socket: socket.socket = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False, factory=asyncio.get_running_loop)
    _waiting: deque[bytes] = field(init=False, factory=deque)
    _size: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        """Raises OSError: ConnectionRefusedError when nobody holds the socket any more."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LARGEST)
            self._socket.connect(str(self.path))
        except OSError:
            self._socket.close()
            raise

    def fits(self, frame: bytes) -> bool:
        """Whether a datagram can hold it."""
        return len(self.prefix) + len(frame) <= LARGEST

    def send(self, frame: bytes) -> bool:
        """Send it now, or when there is room. False: it is lost."""
        return self.fits(frame) and ((not self._waiting and self._post(frame)) or self._put_off(frame))

    def send_all(self, frames: Iterable[bytes]) -> None:
        """As `send`, in as few datagrams as hold them; one that holds none says that we live."""
        for frame in frames:
            self._put_off(frame)
        if self._waiting:
            self._drain()
        else:
            self._post(b"")

    def tell_lost(self, channel: str) -> None:
        """Have the other side know, once there is room, that it missed messages of the channel."""
        self._lost.add(channel)
        if not self._waiting:
            self._tell_lost()

    def close(self) -> None:
        """Forget what still waits. Again: nothing."""
        self._waiting.clear()
        self._lost.clear()
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _post(self, frames: bytes) -> bool:
        """False: no room. Whoever holds the other end no more is gone, and then nothing is left to be done."""
        try:
            self._socket.send(self.prefix + frames)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOBUFS}:
                return False
            self.on_gone(self)
        return True

    def _put_off(self, frame: bytes) -> bool:
        if not self.fits(frame) or self._size + len(frame) > BACKLOG:
            return False
        if not self._waiting:
            self._loop.add_writer(self._socket, self._drain)
        self._waiting.append(frame)
        self._size += len(frame)
        return True

    def _drain(self) -> None:
        while self._waiting:
            frames = self._next()
            if not self._post(frames):
                self._waiting.appendleft(frames)
                return
            self._size -= len(frames)
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)
            self._tell_lost()

    def _next(self) -> bytes:
        """As many of the waiting frames as fit into a datagram, at least one."""
        frames, room = [self._waiting.popleft()], LARGEST - len(self.prefix)
        room -= len(frames[0])
        while self._waiting and len(self._waiting[0]) <= room:
            room -= len(self._waiting[0])
            frames.append(self._waiting.popleft())
        return b"".join(frames)

    def _tell_lost(self) -> None:
        channels, self._lost = self._lost, set()
        self._lost.update(channel for channel in channels if not self.send(write_frame(Kind.LOST, 0.0, channel)))
