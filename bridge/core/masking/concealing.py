"""`hide` over a stream: a model's answer, piece by piece, masked before anybody sees it.

A model may repeat or invent a number. Words go out as soon as they are whole and the next one has begun; a run of words
that could be part of personal data waits for the first word that is not, so that a number is judged whole.

What is judged by words far behind it may get another label than in one go, or be masked where the whole would not be
(and a word before a number that is part of a spoken address, `jane five at gmail dot com`, goes out): see the tests.
"""

from __future__ import annotations

import re
from copy import copy
from typing import Final

from attrs import define, field

from bridge.core.masking import Carry, Masked, Vault, hide
from bridge.core.masking.digits import SPOKEN
from bridge.core.masking.vocabulary import SAID_FOR_A_SIGN

_LONGEST_WAIT: Final = 200
_DOUBTFUL: Final = re.compile(r"[\d@\[]|^\W*\w\W*$")
_JOINS: Final = frozenset({*SAID_FOR_A_SIGN, "at"})
_MAY_JOIN: Final = frozenset(joint[:end] for joint in _JOINS for end in range(len(joint) + 1))
_SAID: Final = frozenset(SPOKEN) | _JOINS
_WORD: Final = re.compile(r"\S+")
_NOTHING: Final = Masked.literal("")


@define
class Conceal:
    """Masks a stream. Join what `feed` and `close` give, and it is masked as a whole would be."""

    _vault: Vault
    _carry: Carry = field(init=False, factory=lambda: Carry(open_end=False))
    _held: str = field(init=False, default="", repr=False)

    def feed(self, piece: str) -> Masked:
        """What can be said now; may be empty."""
        text = self._held + piece
        cut = _border(text)
        if len(text) - cut > _LONGEST_WAIT:
            cut = len(text)
        self._held = text[cut:]
        return self._hidden(text[:cut], self._carry)

    def rest(self) -> Masked:
        """What is held back, as it would be said if the text ended here."""
        return self._hidden(self._held, copy(self._carry))

    def close(self) -> Masked:
        """The text has ended: the rest of it."""
        rest, self._held = self.rest(), ""
        return rest

    def _hidden(self, text: str, carry: Carry) -> Masked:
        return hide(text, self._vault, carry=carry) if text else _NOTHING


def _border(text: str) -> int:
    """Where the unfinished last word begins, or the run before it of words that are in doubt."""
    words = list(_WORD.finditer(text))
    border, follows = len(text), True
    if words and words[-1].end() == len(text):
        begun = words.pop()
        border, follows = begun.start(), _bare(begun) in _MAY_JOIN
    while words and (follows or _doubtful(words[-1])):
        word = words.pop()
        border, follows = word.start(), _bare(word) in _JOINS
    return border


def _doubtful(word: re.Match[str]) -> bool:
    return _DOUBTFUL.search(word[0]) is not None or _bare(word) in _SAID


def _bare(word: re.Match[str]) -> str:
    return word[0].strip(".,;:!?'\"()-").lower()
