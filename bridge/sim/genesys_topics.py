"""Which notification topics the simulated org has, and what a subscriber must be allowed to do to get them."""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST = 200
"""Characters of one topic, combined ones too."""

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DETAIL = (
    r"acd\.start|acd\.end|acw|attributes|contact|customer\.start|customer\.end|flow\.start|flow\.end|flow\.outcome"
    r"|outbound|user\.start|user\.end|voicemail\.start|voicemail\.end|wrapup"
)
_MEDIA = r"calls|callbacks|chats|emails|messages|videos"
_SUGGESTION = r"intent|knowledge\.article|knowledge\.search|response|script|thirdpartyaction"
_TOPIC = re.compile(
    rf"v2\.routing\.queues\.{_ID}\.conversations(?:\.(?:{_MEDIA}))?"
    rf"|v2\.users\.{_ID}\.(?:presence|routingStatus|conversationsummary|conversations(?:\.(?:{_MEDIA}|summaries))?)"
    rf"|v2\.conversations\.{_ID}\.(?:transcription|agentchecklist|suggestions\.(?:{_SUGGESTION}))"
    rf"|v2\.detail\.events\.conversation\.{_ID}\.(?:{_DETAIL})"
    rf"|v2\.detail\.events\.agent\.{_ID}\.state"
)


def expand(topic: str) -> tuple[str, ...]:
    """The single topics of a combined one, `prefix?suffix&suffix`; any other stands for itself."""
    prefix, mark, suffixes = topic.partition("?")
    return tuple(f"{prefix}.{suffix}" for suffix in suffixes.split("&")) if mark else (topic,)


def refusal(topic: str, lacking: Collection[str]) -> tuple[str, list[str]] | None:
    """Why this topic cannot be had, with the missing permissions; None: it can."""
    if len(topic) > LONGEST or not all(_TOPIC.fullmatch(single) for single in expand(topic)):
        return f"Topic not found: {topic[:LONGEST]}", []
    missing = [name for name in _permissions(topic) if name in lacking]
    return ("Missing permissions", missing) if missing else None


def _permissions(topic: str) -> tuple[str, ...]:
    return ("conversation:transcription:view",) if topic.endswith(".transcription") else ()
