#!/usr/bin/env python3
"""Turn the script of a call into a recording: one Genesys notification a line, as a bridge would have received it.

    tools/make_scenario.py config/scenarios/bank_call.txt      writes config/scenarios/bank_call.jsonl

The same script gives the same bytes everywhere: ids are uuid5 of the script's name, the day is fixed, and chance is
drawn from the ids. Utterances arrive about 1.4 s after their last word, as Genesys sends them, so a long one arrives
after a short one that was said into it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from attrs import frozen

START_MS = 1_772_460_000_000  # 2026-03-02 14:00 UTC
DETAIL_LAG_MS = 350
HANG_UP_MS = 2_000  # after the last word, so that the last utterance arrives before the call's end
WRAPUP_MS = 15_000
CONFIDENCE = 0.9
CHANNELS = {"customer": "EXTERNAL", "agent": "INTERNAL"}
COLUMNS = re.compile(r"(customer|agent)\s+(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)\s+(\S.*)", re.ASCII)
TWO_FORMS = re.compile(r"\{([^{}|]+)\|([^{}|]+)\}")

Json = dict[str, Any]


class ScriptError(ValueError):
    """A line of the script cannot be spoken as written."""


@frozen
class Turn:
    """Something said: times in milliseconds from the start of the call."""

    speaker: str
    start_ms: int
    length_ms: int
    text: str

    @property
    def end_ms(self) -> int:
        """When the last word is over."""
        return self.start_ms + self.length_ms

    @property
    def written(self) -> str:
        """With punctuation and figures: what Genesys calls decorated."""
        return TWO_FORMS.sub(r"\1", self.text)

    @property
    def spoken(self) -> str:
        """The bare words, lower case."""
        words = TWO_FORMS.sub(r"\2", self.text).lower().replace("-", " ")
        return " ".join(re.sub(r"[^\w' ]", "", words).split())


def parse_script(script: str) -> list[Turn]:
    """Read the turns in their order of time.

    Raises:
        ScriptError: names the line, and what would be right.
    """
    turns: list[Turn] = []
    for number, line in enumerate(script.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            turns.append(_parse_turn(line, turns))
        except ScriptError as error:
            raise ScriptError(f"line {number}: {error}") from error
    if not turns:
        raise ScriptError("no turn in the script")
    return turns


def _parse_turn(line: str, before: list[Turn]) -> Turn:
    columns = COLUMNS.fullmatch(line.rstrip())
    if columns is None:
        raise ScriptError(f"expected: customer|agent START LENGTH WORDS, times in seconds, got {line!r}")
    speaker, start, length, text = columns.groups()
    turn = Turn(speaker, round(float(start) * 1000), round(float(length) * 1000), text)
    if not turn.length_ms or not turn.spoken:
        raise ScriptError(f"a turn lasts longer than 0 and has words, got {line!r}")
    if before and turn.start_ms < before[-1].start_ms:
        raise ScriptError(f"starts at {start}, before the turn above it; put turns in the order of their start")
    if any(earlier.speaker == speaker and earlier.end_ms > turn.start_ms for earlier in before):
        raise ScriptError(f"the {speaker} is still speaking at {start}")
    return turn


@frozen
class Call:
    """One conversation with one communication; makes its envelopes."""

    name: str

    def id(self, what: str) -> UUID:
        """The id of `what` in this call."""
        return uuid5(NAMESPACE_URL, f"bridge:scenario/{self.name}/{what}")

    def envelope(self, topic: str, received_ms: int, body: Json) -> Json:
        """A notification as received, `received_ms` after the start of the call."""
        return {
            "receivedAt": _iso(received_ms),
            "topicName": topic.format(self.id("conversation")),
            "version": "2",
            "eventBody": body,
            "metadata": {"CorrelationId": str(self.id("correlation"))},
        }

    def detail(self, suffix: str, participant: str, at_ms: int, **more: str | int) -> Json:
        """A detail event: its time is epoch milliseconds."""
        body = {
            "eventTime": START_MS + at_ms,
            "conversationId": str(self.id("conversation")),
            "participantId": str(self.id(participant)),
            "sessionId": str(self.id("communication")),
            "mediaType": "VOICE",
            "provider": "Edge",
            "direction": "INBOUND",
        }
        return self.envelope("v2.detail.events.conversation.{}." + suffix, at_ms + DETAIL_LAG_MS, body | more)

    def transcription(self, received_ms: int, offset_ms: int, status: str, *transcripts: Json) -> Json:
        """A transcription message; without transcripts it tells the status alone."""
        body: Json = {
            "eventTime": _iso(received_ms),
            "organizationId": str(self.id("organization")),
            "conversationId": str(self.id("conversation")),
            "communicationId": str(self.id("communication")),
            "sessionStartTimeMs": START_MS,
            "transcriptionStartTimeMs": START_MS - 32,
        }
        if transcripts:
            body["transcripts"] = list(transcripts)
        body["status"] = {"offsetMs": offset_ms, "status": status}
        return self.envelope("v2.conversations.{}.transcription", received_ms, body)

    def utterance(self, number: int, turn: Turn) -> Json:
        """A finished turn, 1.1 to 1.7 s after its end."""
        utterance = self.id(f"utterance/{number}")
        alternative = {
            "confidence": CONFIDENCE,
            "offsetMs": turn.start_ms,
            "durationMs": turn.length_ms,
            "transcript": turn.spoken,
            "words": _spread(turn, turn.spoken.split()),
            "decoratedTranscript": turn.written,
            "decoratedWords": _spread(turn, turn.written.split()),
        }
        transcript = {
            "utteranceId": str(utterance),
            "isFinal": True,
            "channel": CHANNELS[turn.speaker],
            "alternatives": [alternative],
            "engineProvider": "GENESYS",
            "engineId": "r2d2",
            "dialect": "en-US",
            "agentAssistEnabled": False,
            "voiceTranscriptionEnabled": True,
        }
        received_ms = turn.end_ms + 1100 + utterance.int % 600
        return self.transcription(received_ms, turn.start_ms, "SESSION_ONGOING", transcript)

    def envelopes(self, turns: list[Turn]) -> Iterator[Json]:
        """The whole call, from the customer's arrival to the agent's wrap-up."""
        agent = {"userId": str(self.id("user")), "queueId": str(self.id("queue"))}
        end_ms = max(turn.end_ms for turn in turns) + HANG_UP_MS
        yield self.detail("customer.start", "customer", 0)
        yield self.detail("user.start", "agent", 200, **agent)
        yield self.transcription(400, 0, "SESSION_ONGOING")
        for number, turn in enumerate(turns):
            yield self.utterance(number, turn)
        yield self.detail("customer.end", "customer", end_ms, disconnectType="PEER", interactingDurationMs=end_ms)
        yield self.transcription(end_ms + 550, end_ms, "SESSION_ENDED")
        wrapup_code = str(self.id("wrapup"))
        acw_ms = end_ms + WRAPUP_MS
        yield self.detail("acw", "agent", acw_ms, **agent, wrapupCode=wrapup_code, wrapupDurationMs=WRAPUP_MS)


def _spread(turn: Turn, words: list[str]) -> list[Json]:
    """Give every word an equal share of the turn's time."""
    share = turn.length_ms / len(words)
    return [
        {
            "confidence": CONFIDENCE,
            "offsetMs": turn.start_ms + round(place * share),
            "durationMs": round(share),
            "word": word,
        }
        for place, word in enumerate(words)
    ]


def _iso(offset_ms: int) -> str:
    moment = datetime.fromtimestamp((START_MS + offset_ms) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_recording(script: str, name: str) -> str:
    """Make the recording of `script`, JSON Lines in the order of `receivedAt`; `name` is the seed of its ids."""
    envelopes = Call(name).envelopes(parse_script(script))
    lines = (json.dumps(envelope, separators=(",", ":")) for envelope in sorted(envelopes, key=_received))
    return "".join(f"{line}\n" for line in lines)


def _received(envelope: Json) -> str:
    return str(envelope["receivedAt"])


def main() -> None:
    """Write the recording beside each script."""
    parser = argparse.ArgumentParser(description="Make recordings of scripts of calls, beside them.")
    parser.add_argument("scripts", nargs="+", type=Path, metavar="SCRIPT.txt")
    for script in parser.parse_args().scripts:
        try:
            recording = make_recording(script.read_text("utf-8"), script.stem)
        except (OSError, ScriptError) as error:
            parser.error(f"{script}: {error}")
        script.with_suffix(".jsonl").write_text(recording, "utf-8")


if __name__ == "__main__":
    main()
