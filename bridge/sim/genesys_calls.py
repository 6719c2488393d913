"""A simulated conversation: what its notifications say of it, as a snapshot, for the API and as a transcript."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, field

_PURPOSE = {"customer": "customer", "user": "agent"}


@define(eq=False)
class Call:
    """One conversation, built up from its detail and transcription notifications."""

    id: str
    queue: str
    participants: dict[str, dict[str, Any]] = field(init=False, factory=dict)
    phrases: dict[str, list[dict[str, Any]]] = field(init=False, factory=dict)
    """{communication id: phrases}"""
    started_ms: int = field(init=False, default=0)

    @property
    def ended(self) -> bool:
        """Whether every customer who was there has left."""
        customers = [who for who in self.participants.values() if who["purpose"] == "customer"]
        return bool(customers) and all("endTime" in who for who in customers)

    @property
    def users(self) -> list[str]:
        """The agents that have, or had, a leg."""
        return [who["userId"] for who in self.participants.values() if who.get("userId")]

    def take(self, envelope: Mapping[str, Any]) -> bool:
        """Note what an envelope says. True: who takes part has changed, so a new snapshot is due."""
        topic, body = str(envelope["topicName"]), envelope["eventBody"]
        if topic.endswith(".transcription"):
            self._hear(body)
            return False
        who, _, change = topic.partition(f".{self.id}.")[2].partition(".")
        if who not in _PURPOSE or change not in {"start", "end"}:
            return False
        self._join(body, _PURPOSE[who])
        if change == "end":
            self._leave(body)
        return True

    def body(self) -> dict[str, Any]:
        """The snapshot: all that a queue or user topic, or a look-up, tells."""
        waiting = {"id": f"{self.id[:-4]}acd0", "purpose": "acd", "queueId": self.queue}
        times = {"startTime": iso(self.started_ms)}
        if self.ended:
            times["endTime"] = max(who["endTime"] for who in self.participants.values() if "endTime" in who)
        return {"id": self.id, **times, "participants": [waiting, *self.participants.values()]}

    def _join(self, body: Mapping[str, Any], purpose: str) -> None:
        at = iso(body["eventTime"])
        self.started_ms = self.started_ms or int(body["eventTime"])
        leg = {"id": body.get("sessionId", self.id), "state": "connected", "direction": "inbound", "connectedTime": at}
        media = "messages" if body.get("mediaType") == "MESSAGE" else "calls"
        names = {key: body[key] for key in ("userId", "queueId", "externalContactId") if key in body}
        fresh = {"id": body["participantId"], "purpose": purpose, "connectedTime": at, **names, media: [leg]}
        self.participants.setdefault(body["participantId"], fresh)

    def _leave(self, body: Mapping[str, Any]) -> None:
        who, at = self.participants[body["participantId"]], iso(body["eventTime"])
        who["endTime"] = at
        # When the last customer hangs up, nobody is left to talk to.
        leaving = [each for each in self.participants.values() if "endTime" not in each] if self.ended else []
        for gone in (who, *leaving):
            gone["endTime"] = at
            for leg in (*gone.get("calls", ()), *gone.get("messages", ())):
                leg |= {"state": "disconnected", "disconnectType": "peer", "disconnectedTime": at}

    def _hear(self, body: Mapping[str, Any]) -> None:
        start, spoken = body["sessionStartTimeMs"], self.phrases.setdefault(body["communicationId"], [])
        for said in body.get("transcripts") or ():
            best = said["alternatives"][0]
            spoken.append(
                {
                    "text": best["transcript"],
                    "decoratedText": best.get("decoratedTranscript", best["transcript"]),
                    "confidence": best.get("confidence"),
                    "startTimeMs": start + best["offsetMs"],
                    "duration": {"milliseconds": best["durationMs"]},
                    "phraseIndex": len(spoken),
                    "participantPurpose": str(said.get("channel", "unknown")).lower(),
                }
            )


def transcript(call: Call, communication: str) -> dict[str, Any]:
    """The transcript file of one communication, as it lies behind a transcript URL."""
    phrases = call.phrases[communication]
    return {
        "conversationId": call.id,
        "communicationId": communication,
        "mediaType": "call",
        "conversationStartTime": call.started_ms,
        "transcripts": [{"transcriptId": communication, "engineProvider": "GENESYS", "phrases": phrases}],
    }


def iso(ms: int) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
