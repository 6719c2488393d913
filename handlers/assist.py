"""Live agent-assist: a reply on the panel while the customer still speaks of the matter."""

from __future__ import annotations

from bridge import Context, Router, Utterance

router = Router("assist")

FEWEST_WORDS = 3


def asks_for_a_reply(said: Utterance) -> bool:
    """Finished words of the customer; a bare "yeah" would only push a useful card aside."""
    return said.final and said.speaker == "customer" and len(said.text.split()) >= FEWEST_WORDS


@router.on(Utterance, when=asks_for_a_reply, mode="latest")
async def suggest(said: Utterance, ctx: Context) -> None:
    """Show a reply as the model writes it, then note it."""
    card = ctx.card(based_on=said)
    answering = ctx.ask("suggest", question=said.text)
    async for piece in answering:
        card.write(piece)
    ctx.callback("crm", "suggestion.shown", text=card.text, outcome=answering.outcome)
