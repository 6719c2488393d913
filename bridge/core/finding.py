"""Finds personal data in a text, as written and as spoken."""

from __future__ import annotations

import re
from typing import Final

from bridge.core.digits import SPOKEN
from bridge.core.linear import linear
from bridge.core.mails import said_mails
from bridge.core.numbers import numbered
from bridge.core.patterns import PLACEHOLDER, READABLE, written
from bridge.core.secrets import spoken_secrets
from bridge.core.spans import Span, settle

_NUMBER: Final = "|".join(sorted(SPOKEN.keys() - {"o"}, key=len, reverse=True))
_TRIGGER: Final = linear(
    r"(?i)[\p{Nd}@]|(?:com|net|org|gov|con|vom|xom)\b|\bdot\b|\bpass|\bpin\b|\botp\b|\bat (?:g ?mail|yahoo|hotmail|outlook)"
    rf"|\b(?:{_NUMBER})[\s,.;-]+(?:(?:um+|uhm?|er|and)[\s,.]+)?(?:{_NUMBER})\b"
)
"""What every piece of personal data holds at least; most utterances hold none of it and are done after one pass."""
_LONE: Final = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no encoder takes; as long as before."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


def spans_of(text: str, *, open_end: bool = False) -> list[Span]:
    """Personal data in the text: sorted, disjoint. `open_end`: see `numbers.numbered`."""
    text = readable(text)
    if not _TRIGGER.search(text):
        return []
    kept = [match.span() for match in PLACEHOLDER.finditer(text)]
    claimed = settle(span for span in (*written(text), *said_mails(text)) if not _touches(span, kept))
    walls = _walls(claimed, [*kept, *_readable(text)])
    spans = [*claimed, *numbered(text, walls, open_end=open_end), *spoken_secrets(text)]
    return settle(spans)


def _readable(text: str) -> list[tuple[int, int]]:
    """Dates, times, amounts; unless they are a piece of a longer number such as 03.93.92.16.85."""
    found = (match.span() for match in READABLE.finditer(text))
    return [(start, end) for start, end in found if not (_goes_on(text[max(0, start - 2) : start][::-1]) or _goes_on(text[end : end + 2]))]


def _goes_on(beside: str) -> bool:
    return beside[:1].isdigit() or (beside[:1] in {"-", ".", ",", "/"} and beside[1:].isdigit())


def _touches(span: Span, others: list[tuple[int, int]]) -> bool:
    return any(span.start < end and start < span.end for start, end in others)


def _walls(claimed: list[Span], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted and disjoint: what numbers must not run across. Claimed spans win over what overlaps them."""
    walls: list[tuple[int, int]] = []
    for start, end in sorted([*((span.start, span.end) for span in claimed), *others]):
        if not walls or start >= walls[-1][1]:
            walls.append((start, end))
        else:
            walls[-1] = (walls[-1][0], max(end, walls[-1][1]))
    return walls
