"""Puts values back in the place of their placeholders, for the agent's panel: whole, or over a stream."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from attrs import define, field

from bridge.core.masking.cleared import SEAL, Masked, Shown
from bridge.core.masking.patterns import PLACEHOLDER
from bridge.core.masking.spans import Kind
from bridge.core.masking.vault import Vault

_OPENINGS: Final = tuple(f"[{kind}_" for kind in Kind)
_COUNTED: Final = re.compile(r"[0-9]{0,7}")


def show(masked: Masked, vault: Vault, allowed: Collection[Kind]) -> Shown:
    """The text with the values of the allowed kinds; other placeholders, and unknown ones, stay as they are."""
    return Shown(_unmasked(masked.text, vault, allowed), seal=SEAL)


def _unmasked(text: str, vault: Vault, allowed: Collection[Kind]) -> str:
    def value(match: re.Match[str]) -> str:
        kind, said = vault.lookup(match[0]) or (None, "")
        return said if kind in allowed else match[0]

    return PLACEHOLDER.sub(value, text) if "[" in text else text


@define
class Reveal:
    """`show` over a stream: however the text is cut, the pieces make the same whole.

    Only what could still become a placeholder is held back, so at most 20 characters: "[PHO" waits, "[see" does not.
    """

    _vault: Vault
    _allowed: Collection[Kind]
    _held: str = field(init=False, default="", repr=False)

    def feed(self, piece: str) -> Shown:
        """The next piece of the text; may be empty while a placeholder is on its way."""
        if not self._held and "[" not in piece:
            return Shown(piece, seal=SEAL)
        text = self._held + piece
        opened = text.rfind("[")
        cut = opened if opened >= 0 and _may_become_one(text[opened:]) else len(text)
        self._held = text[cut:]
        return Shown(_unmasked(text[:cut], self._vault, self._allowed), seal=SEAL)

    def close(self) -> Shown:
        """The text has ended: what was held back, as it is."""
        held, self._held = self._held, ""
        return Shown(held, seal=SEAL)


def _may_become_one(tail: str) -> bool:
    return any(
        opening.startswith(tail) or (tail.startswith(opening) and _COUNTED.fullmatch(tail[len(opening) :]))
        for opening in _OPENINGS
    )
