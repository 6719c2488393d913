"""The ids of events: business keys.

One place, because the same fact told by two topics, or by two doors, must get the same id: only then is it stored once.
`CorrelationId` is no id: one is shared by many events, and a repeated event may carry another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from bridge.errors import PayloadError

_TOPIC = re.compile(r"[A-Za-z0-9._{}-]+")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{0,64}")


def canonical(value: object) -> bytes:
    """JSON with sorted keys. PayloadError for what JSON cannot hold, such as a lone surrogate or 255 levels."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise PayloadError(f"the body cannot be kept as JSON: {error}") from None


def digest(value: object) -> str:
    """A short stable name of any JSON value."""
    return blake2b(canonical(value), digest_size=12).hexdigest()


def event_id(topic: str, body: Mapping[str, Any]) -> str:
    """The id of a fact that has no better key: its topic and a hash of topic and body.

    Of a topic that is none of the service's form only the hash stays: it may hold anything, and ids go into logs.
    """
    return f"{topic[:200] if _TOPIC.fullmatch(topic) else 'topic'}:{digest([topic, body])}"


def utterance(conversation: str, communication: str, name: str) -> str:
    """A finished utterance."""
    return f"{conversation}:{communication}:{name}"


def partial(conversation: str, communication: str, name: str, text: str) -> str:
    """A growing utterance: one key a text, and never the key of the finished one."""
    return f"{conversation}:{communication}:{name}:partial:{digest(text)}"


def customer(conversation: str, participant: str, fact: str) -> str:
    """What a customer did: `started` or `left`."""
    return f"{conversation}:customer:{participant}:{fact}"


def agent(conversation: str, participant: str, fact: str) -> str:
    """What an agent's leg did: `joined` or `left`."""
    return f"{conversation}:agent:{participant}:{fact}"


def wrapup(conversation: str, participant: str, code: str, notes: str) -> str:
    """After-call work, by what was noted.

    The topics acw and wrapup and every snapshot tell it, each with another time; a code or note changed later is new.
    """
    return agent(conversation, participant, f"wrapup:{digest([code, notes])}")


def ended(conversation: str) -> str:
    """The end of a conversation, which happens once."""
    return f"{conversation}:ended"


def message(conversation: str, name: str) -> str:
    """A digital message, whatever its status is by now."""
    return f"{conversation}:message:{name}"


def suggestion(conversation: str, name: str, state: str, engagement: str) -> str:
    """One step of a suggestion's life."""
    return ":".join(filter(None, (conversation, "suggestion", name, state, _plain(engagement))))


def summary(conversation: str, name: str, error: str) -> str:
    """A summary; its failure has another key, so that a later success under the same name is stored."""
    return ":".join(filter(None, (conversation, "summary", _plain(name), _plain(error))))


def _plain(told: str) -> str:
    """A part of an id that may be any text: as it is where it is a word, else its hash."""
    return told if _PLAIN.fullmatch(told) else digest(told)
