"""Finds personal data in a text, as written and as spoken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge.core.masking.digits import SPOKEN
from bridge.core.masking.linear import linear
from bridge.core.masking.mails import said_mails
from bridge.core.masking.numbers import numbered
from bridge.core.masking.patterns import AT, PLACEHOLDER, READABLE, written
from bridge.core.masking.secrets import told_secrets
from bridge.core.masking.spans import Place, Span, free, in_order, settle

_ONES, _TENS, _ALL = (
    "|".join(
        sorted((word for word, (_, sign) in SPOKEN.items() if sign in signs and word != "o"), key=len, reverse=True)
    )
    for signs in ("ZUT234", "Y", "ZUTY234HKM")
)
_THEN: Final = r"[\s,.;-]+(?:(?:um+|uhm?|er|and)[\s,.]+)*"
_TRIGGER: Final = linear(
    rf"(?i){AT}|"
    r"(?s:\p{Nd}.{0,5}\p{Nd}.{0,5}\p{Nd})|\b[a-z]{1,2}[0-9][0-9a-z]? ?[0-9][a-z]{2}\b"
    r"|(?:com|net|org|gov|con|vom|xom)\b|\bdot\b|\bpass|\bpwd\b|\bpin\b|\botp\b|\bat (?:g ?mail|yahoo|hotmail|outlook)"
    rf"|(?:\p{{Nd}}|\b(?:{_ONES})){_THEN}(?:{_ONES}|{_TENS}|\p{{Nd}}{{2}})\b"
    rf"|\b(?:{_TENS}){_THEN}(?:{_ONES}|{_TENS}|\p{{Nd}}){_THEN}(?:{_ALL}|\p{{Nd}})|\b(?:{_TENS}){_THEN}(?:{_TENS}|\p{{Nd}})"
)
"""What every piece of personal data holds at least; most utterances hold none of it and are done after one pass.

Two number words in a row do, but for `twenty five` and `two hundred`, which are mere quantities until a third follows.
"""
_LONE: Final = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no encoder takes; as long as before."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


def spans_of(text: str, *, open_end: bool = False) -> list[Span]:
    """Personal data in the text: sorted, disjoint. `open_end`: see `numbers.numbered`.

    What is written plainly comes first, then what is told as a secret, then runs of digits between those.
    """
    text = readable(text)
    if not _TRIGGER.search(text):
        return []
    kept = [Place(*match.span()) for match in PLACEHOLDER.finditer(text)] if "[" in text else []
    spans = settle(free([*written(text), *said_mails(text)], kept))
    spans += free(told_secrets(text, in_order(kept, spans)), in_order(kept, spans))
    claims = in_order(kept, spans)
    walls = in_order(claims, free(_dates_and_amounts(text), claims))
    return settle([*spans, *numbered(text, walls, open_end=open_end)])


def _dates_and_amounts(text: str) -> Iterator[Place]:
    """What stays readable; unless it is a piece of a longer number such as 03.93.92.16.85."""
    for match in READABLE.finditer(text):
        start, end = match.span()
        if not (_goes_on(text[max(0, start - 2) : start][::-1]) or _goes_on(text[end : end + 2])):
            yield Place(start, end)


def _goes_on(beside: str) -> bool:
    return beside[:1].isdigit() or (beside[:1] in {"-", ".", ",", "/"} and beside[1:].isdigit())
