"""E-mail addresses said aloud (`jane dot doe at gmail dot com`), or left by a transcript without their signs.

An anchor is found first: `at … dot com`, `at gmail`, `…gmailcom`. What stands before the `at` is then read backwards,
word by word, for as long as it can be a part of an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge.core.masking.digits import SPOKEN
from bridge.core.masking.linear import linear
from bridge.core.masking.spans import Kind, Span
from bridge.core.masking.vocabulary import BEFORE_AN_ADDRESS, ENDS_LIKE_A_DOMAIN, SAID_FOR_A_SIGN

_BACK: Final = 96
"""So many characters before an anchor can belong to the address."""

_TLD: Final = (
    r"(?:com|net|org|edu|gov|co|uk|us|io|in|info|biz|me|tv|ac|ca|au|nz|ie|eu|de|fr|nl|dk|se|no|it|es|ch|at|be|pl|br"
    r"|c o m)"
)
_BIG: Final = r"g ?mail|hot ?mail|yahoo|outlook|i ?cloud|aol"
_HOUSE: Final = (
    rf"(?:{_BIG}|rediff ?mail|yahoo ?mail|y ?mail|proton ?mail|fast ?mail|e?mail|msn|live|comcast|verizon|att|gmx"
    r"|proton|zoho)"
)
_DOT: Final = r"(?:\s*\.\s*|\s+(?:dot|period|point)\s+)"
_SAID: Final = linear(
    r"(?i)\b(at)\s+(?:sign\s+|the\s+rate\s+(?:of\s+)?)?"
    rf"(?:(?:[\pL\p{{Nd}}-]+\s+){{0,5}}?(?:dot|period|point)\s+{_TLD}\b|[\pL\p{{Nd}}-]+\.{_TLD}\b|{_HOUSE}\b)"
    rf"(?:(?:{_DOT}|\s+){_TLD}\b)*"
)
_ENDING: Final = r"(?:com|con|cim|cmo|vom|xom|net|org|couk|coin)"
_SQUASHED: Final = linear(
    rf"(?i)\b(?:([a-z0-9_.-]*)(?:{_HOUSE}\.?{_ENDING}|(?:{_BIG}) (?:dot )?com)"
    r"|([a-z0-9]{3,}?)(?:com|net|org|gov|con))\b",
)
_CALLED_MAIL: Final = re.compile(r"(?i)\b(?:e-?\s?mail|emil|eamil|mail id)\b")
_CONNECTORS: Final = frozenset({*SAID_FOR_A_SIGN, ".", "_", "-"})
_WORD: Final = re.compile(r"[^\s,;:?!()\[\]]+")


def said_mails(text: str) -> Iterator[Span]:
    """E-mail addresses in words, or without `@` and dots."""
    for match in _SAID.finditer(text):
        start = _local_start(text, match.start(1))
        if start < match.start(1):
            yield Span(start, match.end(), Kind.EMAIL)
    for match in _SQUASHED.finditer(text):
        squashed = _squashed(text, match)
        if squashed:
            yield squashed


def _local_start(text: str, at: int) -> int:
    """Where the part before `at` begins; `at` itself when nothing before it can be one."""
    words = list(_WORD.finditer(text, max(0, at - _BACK), at))
    start, after = at, ""
    for word in reversed(words):
        said = word[0].lower().rstrip(".")
        spelled = _is_sign(said)
        if after in _CONNECTORS or not after:
            belongs = said not in BEFORE_AN_ADDRESS or (len(said) == 1 and bool(after)) or said in _CONNECTORS
        else:
            belongs = (
                said in _CONNECTORS
                or len(said) == len(after) == 1
                or (_is_sign(after) and said not in BEFORE_AN_ADDRESS)
                or (spelled and after.isalpha())
            )
        if not belongs:
            break
        start, after = word.start(), said
    return start


def _is_sign(said: str) -> bool:
    """Whether a word stands for single characters: a letter, digits, a number word."""
    return (len(said) == 1 and said not in "ai") or said.isdecimal() or said in SPOKEN


def _squashed(text: str, match: re.Match[str]) -> Span | None:
    """`nivika 45 gmailcom` and `maryannsmithcom`, but not `internet` nor a site's name in passing."""
    words = list(_WORD.finditer(text, max(0, match.start() - _BACK), match.start()))
    numbered = bool(words) and words[-1][0].isdecimal() and len(words[-1][0]) <= 6
    named = _CALLED_MAIL.search(text, max(0, match.start() - _BACK), match.start()) is not None
    if match[2] is not None and (
        match[0].lower() in ENDS_LIKE_A_DOMAIN
        or not (numbered or named or len(match[0]) >= (10 if match[0][-1] in "mgvMGV" else 15))
    ):
        return None
    start = words[-1].start() if numbered else match.start()
    before = words[-2:-1] if numbered else words[-1:] if match[1] == "" else []
    if before and before[0][0].lower() not in BEFORE_AN_ADDRESS and not before[0][0].isdecimal():
        start = before[0].start()
    return Span(start, match.end(), Kind.EMAIL) if start < match.start() or match[1] != "" else None
