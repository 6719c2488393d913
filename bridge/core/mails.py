"""E-mail addresses said aloud (`jane dot doe at gmail dot com`), or left by a transcript without their signs.

An anchor is found first: `at … dot com`, `at gmail`, `…gmailcom`. What stands before the `at` is then read backwards, word
by word, for as long as it can be a part of an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge.core.digits import SPOKEN
from bridge.core.linear import linear
from bridge.core.spans import Kind, Span

_BACK: Final = 96
"""So many characters before an anchor can belong to the address."""

_TLD: Final = (
    r"(?:com|net|org|edu|gov|co|uk|us|io|in|info|biz|me|tv|ac|ca|au|nz|ie|eu|de|fr|nl|dk|se|no|it|es|ch|at|be|pl|br|c o m)"
)
_HOUSE: Final = (
    r"(?:g ?mail|hot ?mail|rediff ?mail|yahoo ?mail|y ?mail|proton ?mail|fast ?mail|e?mail|yahoo|outlook|i ?cloud|aol|msn|live"
    r"|comcast|verizon|att|gmx|proton|zoho)"
)
_DOT: Final = r"(?:\s*\.\s*|\s+(?:dot|period|point)\s+)"
_SAID: Final = linear(
    r"(?i)\b(at)\s+(?:sign\s+|the\s+rate\s+(?:of\s+)?)?"
    rf"(?:(?:[\pL\p{{Nd}}-]+\s+){{0,5}}?(?:dot|period|point)\s+{_TLD}\b|[\pL\p{{Nd}}-]+\.{_TLD}\b|{_HOUSE}\b)"
    rf"(?:(?:{_DOT}|\s+){_TLD}\b)*"
)
_ENDING: Final = r"(?:com|con|cim|cmo|vom|xom|net|org|couk|coin)"
_SQUASHED: Final = linear(
    rf"(?i)\b(?:([a-z0-9_.-]*){_HOUSE}\.?{_ENDING}|([a-z0-9]{{3,}}?)(?:com|net|org|gov|con))\b",
)
_CALLED_MAIL: Final = re.compile(r"(?i)\b(?:e-?\s?mail|emil|eamil|mail id)\b")
_PLAIN: Final = frozenset(
    "internet intranet ethernet cabinet bonnet magnet planet garnet hornet sonnet clarinet cabernet telecom intercom sitcom"
    " dotcom romcom welcom cyborg incon telcom icon recon silicon falcon bacon beacon deacon lexicon zircon tycoon".split()
)
_CONNECTORS: Final = frozenset("dot period point underscore dash hyphen minus plus . _ -".split())
_OUTSIDE: Final = frozenset(
    "a i the is its it's my me at to on in or and so um uh er yes yeah yep no ok okay sure be as for of by with from that that's"
    " thats this email e-mail mail emails address addresses id send sent it was would will can you your us we he she they"
    " work works worked working look looks looked looking shop shopping buy bought order ordered visit online site website"
    " account here there are please just not look find found check called name named call get got go went back up out".split()
)
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
            belongs = said not in _OUTSIDE or (len(said) == 1 and bool(after)) or said in _CONNECTORS
        else:
            belongs = (
                said in _CONNECTORS
                or len(said) == len(after) == 1
                or (_is_sign(after) and said not in _OUTSIDE)
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
        match[0].lower() in _PLAIN or not (numbered or named or (len(match[0]) >= 10 and match[0][-1] in "mgv"))
    ):
        return None
    start = words[-1].start() if numbered else match.start()
    before = words[-2:-1] if numbered else words[-1:] if match[1] == "" else []
    if before and before[0][0].lower() not in _OUTSIDE and not before[0][0].isdecimal():
        start = before[0].start()
    return Span(start, match.end(), Kind.EMAIL) if start < match.start() or match[1] != "" else None
