"""The transcripts of live conversations, read from the log as far as it has grown and kept in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from attrs import define, field

from bridge.core.codec import load
from bridge.core.transcript import Transcript
from bridge.errors import PayloadError
from bridge.ports import Engine, Stored

BATCH = 500
LARGE = 8_192
"""Bytes of an event that takes milliseconds to mask: others may run before the next one."""


@define
class Transcripts:
    """At most `limit` transcripts; what is dropped is read again from the log when it is asked for."""

    engine: Engine
    limit: int = 2_000
    _kept: OrderedDict[str, Transcript] = field(init=False, factory=OrderedDict)

    async def of(self, conversation: str) -> Transcript:
        """The conversation's transcript, up to now. Shared: callers read it and do not change it.

        Events that belong to no conversation ("") have none: they may be anybody's.
        """
        if not conversation:
            return Transcript()
        transcript = self._kept.setdefault(conversation, Transcript())
        self._kept.move_to_end(conversation)
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)
        while batch := await self.engine.events(conversation=conversation, after=transcript.seq, limit=BATCH):
            for stored in batch:
                _take(transcript, stored)
                if len(stored.body) > LARGE:
                    await asyncio.sleep(0)
        return transcript


def _take(transcript: Transcript, stored: Stored) -> None:
    try:
        transcript.add(stored.seq, load(stored.kind, stored.body))
    except PayloadError:
        # A class that only a newer version knows; it holds no turn that this one could show.
        transcript.seq = max(transcript.seq, stored.seq)
