"""The LLM gateway: what is asked, what comes back, how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from attrs import frozen

from bridge.core.masking import Masked

CountedBy = Literal["gateway", "tokenizer", "estimate"]
Outcome = Literal["complete", "cut", "incomplete", "failed"]


@frozen
class Message:
    """One message of a prompt. Only masked text leaves the house."""

    role: Literal["system", "user", "assistant"]
    content: Masked


@frozen
class Inference:
    """One call of a model. `key` is the Idempotency-Key: the same at every try, and after a crash."""

    key: str
    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.2
    fallback: tuple[str, ...] = ()


@frozen
class Usage:
    """Tokens of one call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@frozen
class Answer:
    """How a call ended. `incomplete`: the stream broke after text had come; `failed`: no text came."""

    text: str
    outcome: Outcome
    model: str
    usage: Usage
    counted_by: CountedBy
    first_token_ms: float | None
    total_ms: float
    error: str = ""


class AnswerStream(Protocol):
    """Pieces of text as they come; afterwards `answer` says how it ended. Leaving early closes the upstream."""

    answer: Answer | None

    def __aiter__(self) -> AsyncIterator[str]:
        """Text, never an empty piece."""
        ...


class Gateway(Protocol):
    """The LLM service."""

    def open_answer(self, inference: Inference) -> AbstractAsyncContextManager[AnswerStream]:
        """Start a call. Raises GatewayError when nothing could be had from the model nor its fallbacks before the
        first token; a break after it is an outcome, not an error.
        """
        ...
