"""Passwords, PINs and one-time codes that hold letters: `my password is bananaman`, `password joi 452`.

Those of digits alone are named fragments: see `numbers`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from bridge.core.masking.digits import SPOKEN
from bridge.core.masking.linear import linear
from bridge.core.masking.spans import Kind, Place, Span
from bridge.core.masking.vocabulary import NO_SECRET

_AHEAD: Final = 64
_CALLED: Final = linear(
    r"(?i)\b(?:pass ?(?:word|code|phrase)s?|otp|pin)(?: (?:number|no|code)\b)?"
    r"(\s*[:=]+\s*|\s+(?:is|was|are|its|it's|would be)\b\s*[:=]?\s*(?:(?:just|still|called|set to)\s+)?|\s+)"
)
_WORD: Final = re.compile(r"[^\s,;\"'\[\]]+")
_STATES: Final = ("ed", "ing", "ly")


def told_secrets(text: str, claims: Sequence[Place]) -> Iterator[Span]:
    """Values that follow a word for a secret, up to the next of the claims (sorted, disjoint)."""
    starts = [claim.start for claim in claims]
    for match in _CALLED.finditer(text):
        ahead = bisect_left(starts, match.end())
        end = min(match.end() + _AHEAD, starts[ahead] if ahead < len(starts) else len(text))
        value = _value(_in_a_row(text, match.end(), end), linked=bool(match[1].strip()))
        if value:
            yield Span(match.end(), value[-1].end() - (value[-1][0][-1] in ".!?"), Kind.SECRET)


def _in_a_row(text: str, start: int, end: int) -> list[re.Match[str]]:
    """Up to four words from `start` on, with nothing but a space between them."""
    words: list[re.Match[str]] = []
    for word in _WORD.finditer(text, start, end):
        if word.start() != (words[-1].end() + 1 if words else start) or len(words) == 4:
            break
        words.append(word)
    return words


def _value(words: list[re.Match[str]], *, linked: bool) -> list[re.Match[str]]:
    """The words that make up the value: one word after `is`, and what holds digits right behind it."""
    if not words or _is_ordinary(words[0][0]) or _is_number(words[0][0]):
        return []
    end = 0
    for at, word in enumerate(words[:3], 1):
        if _is_ordinary(word[0]):
            break
        if any(map(str.isdigit, word[0])):
            end = at
    if not end:
        return words[:1] if linked else []
    return words[:end] + [word for word in words[end : end + 1] if len(word[0]) <= 3 and not _is_ordinary(word[0])]


def _is_number(word: str) -> bool:
    return word.rstrip(".!?").isdecimal() or word.lower().rstrip(".!?") in SPOKEN


def _is_ordinary(word: str) -> bool:
    bare = word.lower().rstrip(".!?")
    return not bare or bare in NO_SECRET or bare.endswith(_STATES)
