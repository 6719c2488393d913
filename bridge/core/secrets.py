"""Passwords, PINs and one-time codes that hold letters: `my password is bananaman`, `password joi 452`.

Those of digits alone are named fragments: see `numbers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge.core.linear import linear
from bridge.core.spans import Kind, Span

_AHEAD: Final = 64
_CALLED: Final = linear(
    r"(?i)\b(?:pass ?(?:word|code|phrase)s?|otp|pin)(?: (?:number|no|code)\b)?"
    r"(\s*[:=]+\s*|\s+(?:is|was|are|its|it's|would be)\b\s*[:=]?\s*(?:(?:just|still|called|set to)\s+)?|\s+)"
)
_WORD: Final = re.compile(r"[^\s,;\"'\[\]]+")
_ORDINARY: Final = frozenset(
    "a an the my your our his her its this that it not no yes wrong right correct incorrect valid invalid too also still very so"
    " really as at in on to of or and but for from with when what why how if is was be been i you we they he she me us one"
    " please thanks secure weak strong long short safe good bad old new same different reset change changes changed update"
    " there here now then again always never something anything secret because protected required needed gone lost stuck dollars"
    " manager screen field page option".split()
)
_STATES: Final = ("ed", "ing", "ly")


def spoken_secrets(text: str) -> Iterator[Span]:
    """Values that follow a word for a secret."""
    for match in _CALLED.finditer(text):
        words = list(_WORD.finditer(text, match.end(), match.end() + _AHEAD))[:4]
        value = _value(words, linked=bool(match[1].strip()))
        if value and words[0].start() == match.end():
            yield Span(match.end(), value[-1].end() - (value[-1][0][-1] in ".!?"), Kind.SECRET)


def _value(words: list[re.Match[str]], *, linked: bool) -> list[re.Match[str]]:
    """The words that make up the value: one word after `is`, and what holds digits right behind it."""
    if not words or _is_ordinary(words[0][0]):
        return []
    numbered = [at for at, word in enumerate(words[:3]) if any(map(str.isdigit, word[0]))]
    between = words[1 : numbered[-1]] if numbered else []
    if not numbered or any(_is_ordinary(word[0]) for word in between):
        return words[:1] if linked else []
    end = numbered[-1] + 1
    tail = words[end : end + 1]
    return words[:end] + [word for word in tail if len(word[0]) <= 3 and not _is_ordinary(word[0])]


def _is_ordinary(word: str) -> bool:
    bare = word.lower().rstrip(".!?")
    return not bare or bare in _ORDINARY or bare.endswith(_STATES)
