"""The one boundary of personal data: text leaves the process only as `Masked`, and only this module makes that.

    vault = Vault()                                      # one conversation's placeholders
    masked = hide("call me at 415 555 0100", vault)      # Masked("call me at [PHONE_1]")
    show(masked, vault, {Kind.PHONE})                    # Shown("call me at 415 555 0100")

Text that looks like a placeholder but is none of this conversation's ("[PHONE_7]", typed by a customer) is neutralised
to "(PHONE)", so that it can never become somebody's number later. One that this conversation's vault does hold stays:
it stands for what the same conversation already said. That is also why hiding hidden text changes nothing.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from bridge.core.masking.cleared import SEAL, Masked, Shown
from bridge.core.masking.finding import readable, spans_of
from bridge.core.masking.patterns import PLACEHOLDER
from bridge.core.masking.spans import Kind, Span
from bridge.core.masking.unmasking import Reveal, show
from bridge.core.masking.vault import Vault

__all__ = ["Carry", "Kind", "Masked", "Reveal", "Shown", "Span", "Vault", "find", "hide", "show"]

_REACH: Final = 96
_LOOKS: Final = 4
"""A placeholder can bare what stood glued to a value (`gmailcom415-555-0100`), so hidden text is looked at again."""


@define
class Carry:
    """What one speaker said last, so that a number or an address that goes on in the next utterance is masked whole.

    Caught: the rest of a number ("my card is 4111 1111" / "1111 1111 thanks"), a number named in the utterance before
    ("my social is" / "3366"), the rest of an address ("jane dot doe" / "at gmail dot com"). The first utterance has
    already left when the second arrives, so four digits or more at its end are masked on suspicion. Not caught: one to
    three digits at the end of an utterance, a name that turns out to be half of an address, and whatever another
    speaker asked for. Keep one per speaker and conversation; its text lives in memory only. Without `open_end` nothing
    is masked on suspicion: for text that is known to be cut where no number goes on.
    """

    open_end: bool = True
    _tail: str = field(init=False, default="", repr=False)

    def spans(self, text: str) -> list[Span]:
        """Personal data in the text, in the light of what went before; remembers the text's end for the next."""
        before = self._tail + " " if self._tail else ""
        self._tail = (before + text)[-_REACH:]
        found = spans_of(before + text, open_end=self.open_end)
        cut = len(before)
        return [Span(max(span.start - cut, 0), span.end - cut, span.kind) for span in found if span.end > cut]


def find(text: str) -> list[Span]:
    """Personal data in the text: sorted, without overlap; offsets in characters."""
    return spans_of(text)


def hide(text: str, vault: Vault, *, carry: Carry | None = None) -> Masked:
    """The text with a placeholder for each piece of personal data. `carry` is the speaker's, and is brought up to date.

    Hiding hidden text again, with the same vault and no carry, changes nothing.
    """
    plain = _neutral(readable(text), vault)
    spans = carry.spans(plain) if carry else spans_of(plain)
    for _ in range(_LOOKS):
        if not spans:
            break
        plain = _replaced(plain, spans, vault)
        spans = spans_of(plain)
    return Masked(plain, seal=SEAL)


def _replaced(text: str, spans: list[Span], vault: Vault) -> str:
    pieces: list[str] = []
    at = 0
    for span in spans:
        pieces += text[at : span.start], vault.placeholder(span.kind, text[span.start : span.end])
        at = span.end
    return "".join((*pieces, text[at:]))


def _neutral(text: str, vault: Vault) -> str:
    """The text with placeholders that this conversation does not know made harmless: (PHONE)."""

    def harmless(match: re.Match[str]) -> str:
        return match[0] if match[0] in vault else f"({match[1].rpartition('_')[0]})"

    return PLACEHOLDER.sub(harmless, text) if "[" in text else text
