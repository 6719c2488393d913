"""The bus between the processes of one host: live text from the workers to the panels that the web process serves.

Every process binds a datagram socket in one folder that only its user may enter, and sends what it publishes to those
of the others who said that they listen to the channel: text that nobody looks at costs nothing. Nobody waits for
anybody: what a process does not take in time is lost, and it is told so, as `LocalBus` tells a subscriber who is too
slow. Who listens is said again every second, so whatever was lost on the way is mended by then.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from bridge.io.bus import LocalBus, Shelf
from bridge.io.hostbus_folder import bound, names, prepare_folder
from bridge.io.hostbus_frames import LARGEST, Frame, Kind, read_datagram, write_frame, write_prefix
from bridge.io.hostbus_peer import Peer
from bridge.ports import Clock

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two rounds of saying who listens."""
SILENCE = 5.0
"""Seconds after which a process that no longer says that it listens is taken to listen no more."""
RECENT = 1_000
"""Messages remembered for who began to listen before they were published, and whose word of it came after."""
MOST = 10_000
"""Channels that one process may listen to."""
AT_ONCE = 64
"""Datagrams that are read before others get their turn."""


@asynccontextmanager
async def open_host_bus(folder: str | Path, *, clock: Clock) -> AsyncIterator[HostBus]:
    """The bus of all processes that name the same folder, which is made when there is none.

    A folder whose path is too long for a socket's address is replaced by one in the temporary directory, named by a
    hash of the path: the processes must then have the same TMPDIR. Raises ConfigError when it is not ours alone.
    """
    home, loop = prepare_folder(Path(folder)), asyncio.get_running_loop()
    with bound(home) as (name, ears):
        bus = HostBus(home, name, ears, clock)
        bus.meet()
        loop.add_reader(ears, bus.hear)
        beating = asyncio.create_task(bus.beat(), name="host bus")
        try:
            yield bus
        finally:
            beating.cancel()
            loop.remove_reader(ears)
            bus.close()
            with suppress(asyncio.CancelledError):
                await beating


@frozen
class Published:
    """A message of ours, and when it was published."""

    at: float
    channel: str
    message: bytes = field(repr=False)
    keep: bool

    def as_frame(self) -> bytes:
        """As it goes to others."""
        return write_frame(Kind.KEPT if self.keep else Kind.MESSAGE, self.at, self.channel, self.message)


@define(eq=False)
class HostBus:
    """Satisfies `ports.Bus`; for one event loop. `lost`: messages that other processes did not get."""

    folder: Path
    name: str
    ears: socket.socket
    clock: Clock
    lost: int = field(init=False, default=0)
    _local: LocalBus = field(init=False)
    _peers: dict[str, Peer] = field(init=False, factory=dict)
    _wanted: dict[str, set[Peer]] = field(init=False, factory=dict)
    _borrowed: set[str] = field(init=False, factory=set)
    """Channels whose kept message is another process's: here it is kept only as long as somebody listens."""
    _recent: deque[Published] = field(init=False, factory=lambda: deque(maxlen=RECENT))

    def __attrs_post_init__(self) -> None:
        self._local = LocalBus(shelf=Shelf(self.clock.monotonic))

    # --- the port

    def publish(self, channel: str, message: bytes, *, keep: bool = False) -> None:
        """Hand a message to those who listen here, and send it to the processes that listen. One that is longer than
        a datagram (64 KiB) stays here.
        """
        said = Published(self.clock.monotonic(), channel, message, keep)
        if keep:
            self._claim(channel, said.at)
        self._local.hand_out(channel, message, said.at if keep else None)
        self._recent.append(said)
        if channel in self._wanted:
            frame = said.as_frame()
            for peer in tuple(self._wanted[channel]):
                self._send(peer, channel, frame)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Listen from now on, to the kept message first. The iterator ends only when messages were lost."""
        if not self._local.hears(channel):
            self._tell_all(Kind.WANT, channel, self.clock.monotonic())
        try:
            async with self._local.subscribe(channel) as messages:
                yield messages
        finally:
            if not self._local.hears(channel):
                if channel in self._borrowed:
                    self._let_go(channel)
                self._tell_all(Kind.LEAVE, channel, 0.0)

    # --- the others

    def meet(self) -> None:
        """Look who is there, and remove what the dead left behind."""
        there = names(self.folder) - {self.name}
        for name in self._peers.keys() - there:
            self._part(self._peers[name])
        for name in there - self._peers.keys():
            self._reach(name)

    async def beat(self) -> None:
        """Say every second who listens; forget who no longer says so. Without end."""
        told = 0
        while True:
            await self.clock.sleep(BEAT)
            self.meet()
            for peer in tuple(self._peers.values()):
                self._greet(peer)
                self._forget_silent(peer)
            self._local.shelf.tidy()
            if self.lost > told:
                log.warning("live text was lost", extra={"action": "bus_lost", "messages": self.lost - told})
                told = self.lost

    def close(self) -> None:
        """Leave the others."""
        for peer in tuple(self._peers.values()):
            self._part(peer)

    def _reach(self, name: str) -> None:
        path = self.folder / name
        try:
            peer = Peer(path, write_prefix(self.name), self._part)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:  # it left while we looked, or is no socket of ours
            return
        else:
            self._peers[name] = peer
            self._greet(peer)

    def _greet(self, peer: Peer) -> None:
        now = self.clock.monotonic()
        peer.send_all([write_frame(Kind.WANT, now, channel) for channel in self._local.channels])

    def _part(self, peer: Peer) -> None:
        peer.close()
        self._peers.pop(peer.path.name, None)
        for channel in tuple(peer.wants):
            self._forget(peer, channel)

    def _tell_all(self, kind: Kind, channel: str, at: float) -> None:
        if self._peers:
            frame = write_frame(kind, at, channel)
            for peer in tuple(self._peers.values()):
                peer.send(frame)

    def _send(self, peer: Peer, channel: str, frame: bytes) -> None:
        if peer.send(frame):
            return
        self.lost += 1
        if peer.fits(frame):
            self._lose(peer, channel)

    def _lose(self, peer: Peer, channel: str) -> None:
        """It missed something: it is sent no more until it listens anew, and told so."""
        self._forget(peer, channel)
        peer.tell_lost(channel)

    # --- what they want

    def _want(self, peer: Peer, channel: str, since: float) -> None:
        is_new = channel not in peer.wants
        if is_new and len(peer.wants) >= MOST:
            return
        peer.wants[channel] = self.clock.monotonic()
        if is_new:
            self._wanted.setdefault(channel, set()).add(peer)
            self._catch_up(peer, channel, since)

    def _catch_up(self, peer: Peer, channel: str, since: float) -> None:
        """Tell who begins to listen what is kept, and what was published while its word of it was on the way."""
        missed: deque[Published] = deque()
        for said in reversed(self._recent):
            if not said.at >= since:
                break
            if said.channel == channel:
                missed.appendleft(said)
        kept = None if channel in self._borrowed else self._local.shelf.get(channel)
        if kept and not any(said.keep for said in missed):
            missed.appendleft(Published(kept.at, channel, kept.message, keep=True))
        for said in missed:
            self._send(peer, channel, said.as_frame())

    def _forget(self, peer: Peer, channel: str) -> None:
        if peer.wants.pop(channel, None) is not None:
            self._wanted[channel].remove(peer)
            if not self._wanted[channel]:
                del self._wanted[channel]

    def _forget_silent(self, peer: Peer) -> None:
        oldest = self.clock.monotonic() - SILENCE
        for channel in [channel for channel, heard in peer.wants.items() if heard < oldest]:
            self._lose(peer, channel)

    # --- what is kept

    def _claim(self, channel: str, at: float) -> None:
        """Who begins to keep a channel's message has the others let go of theirs, which is older."""
        if channel in self._borrowed or channel not in self._local.shelf:
            self._borrowed.discard(channel)
            self._tell_all(Kind.OURS, channel, at)

    def _yield_to(self, channel: str, at: float) -> None:
        kept = self._local.shelf.get(channel)
        if kept and kept.at < at:
            self._let_go(channel)

    def _let_go(self, channel: str) -> None:
        self._borrowed.discard(channel)
        self._local.shelf.drop(channel)

    # --- what they say

    def hear(self) -> None:
        """Read what has come. No bytes do any harm."""
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                self._take(self.ears.recv(LARGEST))

    def _take(self, datagram: bytes) -> None:
        sender, frames = read_datagram(datagram)
        if sender and sender not in self._peers:
            self.meet()
        if peer := self._peers.get(sender):
            for frame in frames:
                self._heed(peer, frame)

    def _heed(self, peer: Peer, frame: Frame) -> None:
        match frame.kind:
            case Kind.MESSAGE | Kind.KEPT:
                self._bring(frame)
            case Kind.OURS:
                self._yield_to(frame.channel, frame.at)
            case Kind.WANT:
                self._want(peer, frame.channel, frame.at)
            case Kind.LEAVE:
                self._forget(peer, frame.channel)
            case Kind.LOST:
                self._local.cut_off(frame.channel)

    def _bring(self, frame: Frame) -> None:
        if not self._local.hears(frame.channel):
            return
        if frame.kind == Kind.MESSAGE:
            self._local.hand_out(frame.channel, frame.body, None)
        else:
            now = self.clock.monotonic()
            self._borrowed.add(frame.channel)
            self._local.hand_out(frame.channel, frame.body, min(now, frame.at))
