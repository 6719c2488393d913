"""v2.conversations.{id}.transcription: what was said.

A message holds no, one or several utterances and usually a status. Words with their own times are not kept: nothing
here reads them, and they are nine tenths of the message.
"""

from __future__ import annotations

from functools import lru_cache

from bridge.core.events import Event, Speaker, TranscriptionStatus, Utterance
from bridge.core.genesys import keys
from bridge.core.genesys.envelope import BODY, Envelope
from bridge.core.genesys.fields import Fields, child, children, flag, key, moment, refuse, share, span, text

LONGEST_SAID = 65_536
"""Characters of one utterance, hours of speech: masking takes microseconds for each, and all conversations wait."""
_SPEAKERS: dict[str, Speaker] = {"INTERNAL": "agent", "EXTERNAL": "customer"}


def read_transcription(heard: Envelope) -> tuple[Event, ...]:
    """The utterances; and the status, when there are none or when it says that the session has ended."""
    body, conversation = heard.body, heard.conversation
    communication = key(body, "communicationId", BODY)
    told_ms = moment(body, "eventTime", BODY)
    said = [
        utterance
        for index, transcript in enumerate(children(body, "transcripts", BODY))
        if (utterance := _utterance(body, transcript, f"{BODY}.transcripts[{index}]", conversation, told_ms))
    ]
    status = text(child(body, "status", BODY), "status", f"{BODY}.status")
    if said and status != "SESSION_ENDED":
        return tuple(said)
    at_ms = heard.happened_ms()
    return (
        *said,
        TranscriptionStatus(
            id=heard.id, conversation=conversation, at_ms=at_ms, communication=communication, status=status
        ),
    )


@lru_cache(maxsize=256)
def dialect(told: str) -> str:
    """A language tag in one spelling, since Genesys writes en-US and en-us: xx-YY."""
    language, _, region = told.replace("_", "-").partition("-")
    return f"{language.lower()}-{region.upper()}" if len(region) == len("US") else told


def _utterance(body: Fields, transcript: Fields, at: str, conversation: str, told_ms: int | None) -> Utterance | None:
    """The first alternative; None when no text was heard."""
    name = key(transcript, "utteranceId", at)
    alternatives = children(transcript, "alternatives", at)
    if not alternatives:
        return None
    best, beside = alternatives[0], f"{at}.alternatives[0]"
    said = _words(best, "decoratedTranscript", beside) or _words(best, "transcript", beside)
    if not said:
        return None
    start_ms = _start_ms(body, best, beside)
    end_ms = start_ms + (span(best, "durationMs", beside) or 0)
    final = flag(transcript, "isFinal", at, default=True)
    communication = body["communicationId"]
    return Utterance(
        id=keys.utterance(conversation, communication, name)
        if final
        else keys.partial(conversation, communication, name, said),
        conversation=conversation,
        at_ms=end_ms if told_ms is None else told_ms,
        communication=communication,
        utterance=name,
        speaker=_SPEAKERS.get(text(transcript, "channel", at), "unknown"),
        text=said,
        start_ms=start_ms,
        end_ms=end_ms,
        final=final,
        confidence=share(best, "confidence", beside),
        dialect=dialect(text(transcript, "dialect", at)),
    )


def _words(alternative: Fields, name: str, at: str) -> str:
    words = text(alternative, name, at)
    if len(words) > LONGEST_SAID:
        refuse(f"{at}.{name}", words, f"at most {LONGEST_SAID} characters")
    return words


def _start_ms(body: Fields, alternative: Fields, at: str) -> int:
    """Each communication has its own clock: the absolute time is its session's start and the offset."""
    session_ms, offset_ms = moment(body, "sessionStartTimeMs", BODY), span(alternative, "offsetMs", at)
    if session_ms is None:
        refuse(f"{BODY}.sessionStartTimeMs", None, "epoch milliseconds")
    if offset_ms is None:
        refuse(f"{at}.offsetMs", None, "milliseconds since sessionStartTimeMs")
    return session_ms + offset_ms
