"""The note of a finished conversation: reason, actions, outcome, follow-up."""

from __future__ import annotations

import re

from bridge import Context, ConversationEnded, GatewayError, Later, Router

router = Router("summary")

PATIENCE_MS = 30_000
HEADINGS = re.compile(r"^(Reason|Actions|Outcome|Follow-up):[ \t]*", re.MULTILINE)


@router.on(ConversationEnded)
async def summarize(ended: ConversationEnded, ctx: Context) -> None:
    """Wait for the last words to be transcribed, ask for the note, send it to the CRM."""
    transcript = await ctx.transcript()
    if not transcript.complete and ctx.age_ms < PATIENCE_MS:
        raise Later(0.5, f"the transcription of {ended.conversation} has not ended yet")
    if not transcript.lines():
        return
    answering = ctx.ask("summary", whole=True)
    text = await answering.text()
    if answering.outcome == "incomplete":
        raise GatewayError("the summary broke off before its end")
    if not text.strip():
        raise GatewayError("the model answered nothing", retryable=False)
    ctx.callback("crm", "conversation.summarized", outcome_of_model=answering.outcome, **sections(text))


def sections(text: str) -> dict[str, str]:
    """The four sections by name; "" for one that the model left out, everything under `reason` if it left out all."""
    parts = HEADINGS.split(text)
    found = {name.lower().replace("-", "_"): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    empty = {"reason": "" if found else text.strip(), "actions": "", "outcome": "", "follow_up": ""}
    return {**empty, **found}
