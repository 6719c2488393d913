"""The body of an inference and the frames of its answer, as OpenAI-compatible gateways write them. Pure.

Nothing here trusts the other side: a frame of the wrong shape is a MalformedError, which a Reading counts and passes
over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import orjson
from attrs import define, frozen

from bridge.core.faults import Fault, fault_of

DONE: Final = "[DONE]"
MOST_TOKENS: Final = 10**9
"""A count beyond this is no count: nothing of it may reach a budget."""
_HEADER_SAFE: Final = re.compile(r"[!-~]{1,255}")


class MalformedError(ValueError):
    """A frame that is no JSON, or has the wrong shape."""


@frozen
class Part:
    """What one frame brings. `usage` is (prompt tokens, completion tokens)."""

    text: str = ""
    finish_reason: str = ""
    usage: tuple[int, int] | None = None
    fault: Fault | None = None


@define
class Reading:
    """An answer as far as it was read. [DONE] or a fault ends it; after a finish_reason, usage may still come."""

    finish_reason: str = ""
    usage: tuple[int, int] | None = None
    fault: Fault | None = None
    done: bool = False
    malformed: int = 0

    @property
    def finished(self) -> bool:
        """Whether the gateway said, in either way, that the answer is whole."""
        return self.done or bool(self.finish_reason)

    @property
    def filtered(self) -> bool:
        """Whether the gateway's own filter ended the answer."""
        return self.finish_reason == "content_filter"

    def take(self, event: str, data: str | bytes) -> str:
        """Take in a frame; the text it brings, often ""."""
        if data == DONE:
            self.done = True
            return ""
        try:
            part = parse_frame(event, data)
        except MalformedError:
            self.malformed += 1
            return ""
        self.finish_reason = part.finish_reason or self.finish_reason
        self.usage = part.usage or self.usage
        self.fault = part.fault
        return part.text


def dump_request(model: str, messages: Iterable[tuple[str, str]], *, max_tokens: int, temperature: float) -> bytes:
    """The JSON body. `messages` are (role, content); a lone surrogate in one becomes "?"."""
    return orjson.dumps(
        {
            "model": model,
            "messages": [
                {"role": role, "content": content.encode("utf-8", "replace").decode()} for role, content in messages
            ],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


def header_key(key: str) -> str:
    """The Idempotency-Key: the key itself, or its SHA-256 where no header can carry it (its ids come from outside)."""
    return key if _HEADER_SAFE.fullmatch(key) else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def parse_frame(event: str, data: str | bytes) -> Part:
    """What a data frame, or a whole answer that was not streamed, brings. Raises MalformedError."""
    try:
        frame = orjson.loads(data)
    except ValueError:
        if event == "error":
            return Part(fault=Fault(message=str(data)))
        raise MalformedError("is no JSON") from None
    if event == "error" or (isinstance(frame, dict) and frame.get("error")):
        return Part(fault=fault_of(frame))
    if not isinstance(frame, dict):
        raise MalformedError("is no object")
    text, finish_reason = _choice(frame.get("choices"))
    return Part(text, finish_reason, _usage(frame.get("usage")))


def _choice(choices: Any) -> tuple[str, str]:
    """Text and finish_reason of choice 0, from `delta` (streamed) or `message` (whole)."""
    if choices is None:
        return "", ""
    if not isinstance(choices, list):
        raise MalformedError("choices is no list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise MalformedError("a choice is no object")
        if choice.get("index") or 0:
            continue
        said = choice.get("delta") or choice.get("message") or {}
        text = said.get("content") if isinstance(said, dict) else said
        return _text(text, "content"), _text(choice.get("finish_reason"), "finish_reason")
    return "", ""


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(f"{name} is no text")
    return value


def _usage(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    whole = all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts)
    return (int(counts[0]), int(counts[1])) if whole else None  # type: ignore[arg-type]  # checked by `whole`
