"""`hide` over a stream: a model's answer, piece by piece, masked before anybody sees it.

A model may repeat or invent a number. Words go out as soon as they are whole; a run of words that could be part of
personal data waits for the first word that is not, so that a number is judged whole.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from bridge.core.digits import SPOKEN
from bridge.core.masking import Carry, Masked, Vault, hide

_LONGEST_WAIT: Final = 200
_DOUBTFUL: Final = re.compile(r"[\d@\[]")
_SAID: Final = frozenset(SPOKEN) | {"dot", "at", "double", "triple", "hundred", "thousand"}
_WORD: Final = re.compile(r"\S+")


@define
class Conceal:
    """Masks a stream. Join what `feed` and `close` give, and it is masked as a whole would be."""

    _vault: Vault
    _carry: Carry = field(init=False, factory=lambda: Carry(open_end=False))
    _held: str = field(init=False, default="", repr=False)

    def feed(self, piece: str) -> Masked:
        """What can be said now; may be empty."""
        text = self._held + piece
        cut = _border(text) if len(text) < _LONGEST_WAIT else len(text)
        return self._out(text[:cut], text[cut:])

    def close(self) -> Masked:
        """The text has ended: the rest of it."""
        return self._out(self._held, "")

    def _out(self, text: str, held: str) -> Masked:
        self._held = held
        return hide(text, self._vault, carry=self._carry) if text else Masked.literal("")


def _border(text: str) -> int:
    """Where the unfinished last word begins, or the run of doubtful words before it."""
    words = list(_WORD.finditer(text))
    if words and words[-1].end() == len(text):
        border = words.pop().start()
    else:
        border = len(text)
    while words and _doubtful(words[-1].group()):
        border = words.pop().start()
    return border


def _doubtful(word: str) -> bool:
    return _DOUBTFUL.search(word) is not None or word.strip(".,;:!?'\"()-").lower() in _SAID
