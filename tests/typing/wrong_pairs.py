"""Pairs that the type checker must refuse: read by mypy in test_types.py, and run by nobody.

Each line that is wrong says so; an ignore that is not needed is an error too, so every one of them proves a refusal.
"""

from __future__ import annotations

from bridge import Context, CustomerLeft, Event, Router, Utterance
from bridge.core.masking import Masked
from bridge.ports import Message

router = Router("wrong")


@router.on(Utterance)
async def right(said: Utterance, ctx: Context) -> None:
    """The event of its class."""
    ctx.callback("crm", "said", text=said.text)


@router.on(CustomerLeft)
async def right_for_any(event: Event, ctx: Context) -> None:
    """A handler of every event takes this one too."""
    ctx.callback("crm", "left", at=event.at_ms)


@router.on(CustomerLeft)  # type: ignore[arg-type]
async def wrong_event(said: Utterance, ctx: Context) -> None:
    """A handler of another class."""


@router.on(Utterance)  # type: ignore[arg-type]
async def no_context(said: Utterance) -> None:
    """A handler that takes no context."""


@router.on(Utterance)  # type: ignore[arg-type]
def not_async(said: Utterance, ctx: Context) -> None:
    """A handler that nobody can await."""


@router.on(str)  # type: ignore[type-var]
async def no_event(said: str, ctx: Context) -> None:
    """A class that is no event."""


@router.on(Utterance, when=lambda said: said.speeker == "customer")  # type: ignore[attr-defined]
async def wrong_filter(said: Utterance, ctx: Context) -> None:
    """A filter that asks for what the class does not have."""


@router.on(Utterance, mode="newest")  # type: ignore[arg-type]
async def wrong_mode(said: Utterance, ctx: Context) -> None:
    """A mode that there is not."""


def unmasked(text: str) -> Message:
    """A plain text on its way out of the house."""
    return Message("user", text)  # type: ignore[arg-type]


def made_up(text: str) -> Masked:
    """A masked text that nobody masked."""
    return Masked(text)  # type: ignore[call-arg]
