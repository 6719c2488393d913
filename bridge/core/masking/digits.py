"""Runs of digits, as written and as spoken: where they stand and which digits they hold.

A run is a chain of number tokens with nothing between them but separators and fillers: `4111-1111 1111`, `four one
five, uh, double five`, `(415) 555-0100 ext 12`, `oh nine two nine eightythree`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import define, field, frozen

from bridge.core.masking.linear import linear
from bridge.core.masking.spans import Place
from bridge.core.masking.vocabulary import words

_UNITS: Final = words("one two three four five six seven eight nine")
_TEENS: Final = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS: Final = words("twenty thirty forty fifty sixty seventy eighty ninety")

SPOKEN: Final = {
    **dict.fromkeys(("zero", "oh", "o", "nought", "naught", "nil"), ("0", "Z")),
    **{word: (str(at), "U") for at, word in enumerate(_UNITS, 1)},
    **{word: (str(at), "T") for at, word in enumerate(_TEENS, 10)},
    **{word: (str(at * 10), "Y") for at, word in enumerate(_TENS, 2)},
    **{ten + one: (f"{tens}{ones}", "T") for tens, ten in enumerate(_TENS, 2) for ones, one in enumerate(_UNITS, 1)},
    "fourty": ("40", "Y"),
    "hundred": ("00", "H"),
    "thousand": ("000", "K"),
    "million": ("000000", "M"),
    "double": ("", "2"),
    "triple": ("", "3"),
    "treble": ("", "3"),
    "quadruple": ("", "4"),
}
"""Word -> its digits and its class: Z zero, U unit, T teen, Y tens, H K M magnitudes, 2 3 4 repeat the next one."""

_FILLERS: Final = frozenset(
    words("um umm uh uhm er erm ah hmm dash hyphen space comma then plus okay ok yeah ext extension")
)
_WIDEST_GAP: Final = 24
_MOST_UNSEEN: Final = 200
_UNSEEN: Final = frozenset({"Cc", "Cf", "Mn", "Me"})
_SPACES: Final = " \t\r\n\v\f\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_GAP: Final = _SPACES + "-\u2010\u2011\u2012\u2013\u2014\u2212._,;:()/\\*#+|~\u2026'\""
_TOKEN: Final = linear(rf"(?i)(\p{{Nd}}+)|\b({'|'.join(sorted(SPOKEN, key=len, reverse=True))})\b")
_WORD: Final = re.compile(r"[^\W\d_]+")


@frozen
class Token:
    """One number token. `sign` is its class: those of SPOKEN, or D for written digits."""

    start: int
    end: int
    digits: str
    sign: str


@define
class Run:
    """Number tokens in a row. `digits` is what they spell."""

    tokens: list[Token] = field(factory=list)

    @property
    def start(self) -> int:
        """Offset of the first character."""
        return self.tokens[0].start

    @property
    def end(self) -> int:
        """Offset after the last character."""
        return self.tokens[-1].end

    @property
    def digits(self) -> str:
        """The digits in a row: `forty-two twelve` is 4212, `double five oh` is 550, `eight hundred` is 800."""
        spelled: list[str] = []
        repeat, tens = 1, False
        for token in self.tokens:
            if token.sign in "234" and not token.digits:
                repeat = int(token.sign)
                continue
            if tens and token.sign == "U":
                spelled[-1] = spelled[-1][:-1] + token.digits
            else:
                spelled.append(token.digits * repeat)
            tens, repeat = token.sign == "Y" and repeat == 1, 1
        return "".join(spelled)

    @property
    def signs(self) -> str:
        """The classes of the tokens, one letter each. Written ones: U one digit, T two, D three, N more."""
        return "".join(_size(token) if token.sign == "D" else token.sign for token in self.tokens)

    @property
    def groups(self) -> list[int]:
        """How many digits each token holds."""
        return [len(token.digits) for token in self.tokens]

    @property
    def is_spoken(self) -> bool:
        """Whether there is a number word in it."""
        return any(token.sign != "D" for token in self.tokens)


def _size(token: Token) -> str:
    return "UTDN"[min(len(token.digits), 4) - 1]


def runs(text: str, walls: Iterable[Place] = ()) -> Iterator[Run]:
    """All runs of the text from left to right. The walls (sorted, disjoint) end a run, and nothing in them is read."""
    start = 0
    for wall in (*walls, Place(len(text), len(text))):
        if wall.start - start > 1:
            yield from _runs_within(text[start : wall.start], start)
        start = wall.end


def _runs_within(text: str, offset: int) -> Iterator[Run]:
    run, reached = Run(), 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        digits, sign = SPOKEN[match[2].lower()] if match[2] else (_ascii(match[1]), "D")
        token = Token(offset + start, offset + end, digits, sign)
        if run.tokens and not _joined(run, text[reached:start], token):
            yield run
            run = Run()
        run.tokens.append(token)
        reached = end
    if run.tokens:
        yield run


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)


def _joined(run: Run, gap: str, token: Token) -> bool:
    """Whether what stands between a run and the next token keeps them together: separators and fillers.

    `two hundred and fifty` and `four five and six seven` are one run, `3345 and 6677` are two; a single letter joins
    digits, as in `12 x 45`, and so do letters glued to them, as in `F16B4711`.
    """
    gap = _visible(gap)
    if len(gap) > _WIDEST_GAP:
        return False
    if not gap.strip(_GAP) or (gap.isalpha() and len(gap) <= 5):
        return True
    said = _WORD.findall(gap.lower())
    if not said or _WORD.sub("", gap).strip(_GAP):
        return False
    return all(word in _FILLERS or _fits(word, run, token) for word in said)


def _visible(gap: str) -> str:
    """Without what takes no place of its own: zero-width and control characters, accents."""
    if gap.isprintable() and gap.isascii():
        return gap
    return "".join(sign for sign in gap[:_MOST_UNSEEN] if sign in _GAP or unicodedata.category(sign) not in _UNSEEN)


def _fits(word: str, run: Run, token: Token) -> bool:
    before, after = run.tokens[-1].sign, token.sign
    if word == "and":
        return before in "HKM" or (before in "UZ" and after in "UZ")
    if len(word) > 1 or word in "ai":
        return False
    return before == after == "D" or (before in "UZD" and after in "UZD" and len(run.tokens) > 1)
