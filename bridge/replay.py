"""Recorded events through the same bridge: at their recorded pace, ten times it, or as fast as it goes.

At `max` there is no clock that words and cards could race on: `latest` lanes run every delivery in order and nothing is
late, so the same recording gives the same result each time. What was stored survives a kill: the same command goes on.
"""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from attrs import define, evolve, field

from bridge.app import Bridge
from bridge.core.genesys import parse
from bridge.core.recording import Line, interleave, read_line
from bridge.errors import PayloadError, RejectedError
from bridge.ports import Counts

WINDOW = 2_000
"""Lines that are in memory at once at `max`."""
LOOK_SECONDS = 0.05
SILENCE_MS = 60_000
"""Recordings of several days may be played together: when nobody says anything for longer than this, it is cut."""


@define
class ReplayClock:
    """Recorded time: starts at the recording's first line and runs `speed` times as fast. Implements `ports.Clock`."""

    origin_ms: int
    speed: float
    _began: float = field(factory=time.monotonic)

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC, when it was recorded."""
        return self.origin_ms + int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        """Recorded seconds since the start."""
        return (time.monotonic() - self._began) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait recorded seconds."""
        await asyncio.sleep(max(0.0, seconds / self.speed))

    def jump(self, when_ms: int) -> None:
        """Let it be that time of the recording, or later, at once."""
        self.origin_ms += max(0, when_ms - self.now_ms())

    async def until(self, when_ms: int) -> None:
        """Wait until that time of the recording; of a long silence, only `SILENCE_MS`."""
        self.jump(when_ms - SILENCE_MS)
        await self.sleep((when_ms - self.now_ms()) / 1000)


@define
class Read:
    """What has been read so far. `refused`: file, line number and reason of each line that is no event."""

    lines: int = 0
    repeated: int = 0
    refused: list[str] = field(factory=list)
    events: set[str] = field(factory=set, repr=False)


def read_recording(path: Path, refused: list[str]) -> Iterator[Line]:
    """The lines of a recording, plain or .gz. What cannot be read is noted and passed over."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = read_line(raw)
                except PayloadError as error:
                    refused.append(f"{path}:{number}: {error}")
                    continue
                if line is not None:
                    yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        refused.append(f"{path}:{number + 1}: no whole gzip file: {error}; what stands before it was read")


def first_ms(paths: Sequence[Path]) -> int:
    """When the earliest recording begins."""
    starts = [line.received_ms for path in paths for line in islice(read_recording(path, []), 1)]
    return min((start for start in starts if start is not None), default=0)


async def feed(
    bridge: Bridge,
    paths: Sequence[Path],
    clock: ReplayClock | None,
    tell: Callable[[Read], None],
    *,
    together: bool = False,
) -> Read:
    """Give every line to the intake, at its time or (no clock) as fast as the order within conversations allows.

    `together`: all recordings begin at the same time.
    """
    read = Read()
    recordings: list[Iterable[Line]] = [read_recording(path, read.refused) for path in paths]
    if together and clock:
        recordings = [_from(clock.origin_ms, lines) for lines in recordings]
    lines = (line for _, line in interleave(recordings))
    async for batch in _timed(lines, clock, bridge) if clock else _windows(lines):
        by_conversation: dict[str, list[Line]] = defaultdict(list)
        for line in batch:
            by_conversation[_conversation(line)].append(line)
        async with asyncio.TaskGroup() as group:
            for several in by_conversation.values():
                group.create_task(_take(bridge, several, read, timed=clock is not None))
        read.lines += len(batch)
        tell(read)
    return read


def _from(start_ms: int, lines: Iterable[Line]) -> Iterator[Line]:
    """The recording as if it had begun then."""
    shift = None
    for line in lines:
        if line.received_ms is not None and shift is None:
            shift = start_ms - line.received_ms
        yield line if line.received_ms is None or shift is None else evolve(line, received_ms=line.received_ms + shift)


async def _windows(lines: Iterable[Line]) -> AsyncIterator[list[Line]]:
    iterator = iter(lines)
    while batch := list(islice(iterator, WINDOW)):
        yield batch


async def _timed(lines: Iterable[Line], clock: ReplayClock, bridge: Bridge) -> AsyncIterator[list[Line]]:
    """Each line at its time; those that an earlier, killed replay stored already take no time."""
    known = (await bridge.engine.counts()).events > 0
    for line in lines:
        known = known and await _is_stored(bridge, line)
        if line.received_ms is not None:
            if known:
                clock.jump(line.received_ms)
            else:
                await clock.until(line.received_ms)
        yield [line]


async def _is_stored(bridge: Bridge, line: Line) -> bool:
    try:
        events = parse(line.envelope)
    except PayloadError:
        return True
    return all([await bridge.engine.event(event.id) is not None for event in events])


def _conversation(line: Line) -> str:
    try:
        return next((event.conversation for event in parse(line.envelope)), "")
    except PayloadError:
        return ""


async def _take(bridge: Bridge, lines: Iterable[Line], read: Read, *, timed: bool) -> None:
    for line in lines:
        try:
            read.events.update(event.id for event in parse(line.envelope))
            accepted = await bridge.intake(line.envelope, received_ms=line.received_ms if timed else None)
        except RejectedError as error:
            read.refused.append(f"{line.envelope.get('topicName', 'a line without topicName')}: {error}")
            continue
        read.repeated += accepted.duplicate


async def until_idle(bridge: Bridge, patience: float, tell: Callable[[Counts], None]) -> Counts:
    """Wait until every delivery and callback is settled, or nothing has moved for `patience` seconds."""
    before, moved = await bridge.engine.counts(), time.monotonic()
    while before.waiting or before.callbacks_waiting:
        await asyncio.sleep(LOOK_SECONDS)
        now = await bridge.engine.counts()
        if now != before:
            before, moved = now, time.monotonic()
            tell(now)
        elif time.monotonic() - moved > patience:
            break
    return before
