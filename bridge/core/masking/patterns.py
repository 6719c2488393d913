"""Personal data as it is written: e-mail, IP, IBAN, national ids, postal codes; and what must stay readable.

Patterns that repeat over untrusted text run in RE2, which is linear whatever the text. RE2 has no look-around, so a
pattern finds a candidate and a check has the last word. Runs of digits are judged in `numbers`, e-mails said aloud
are found in `mails`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from attrs import frozen
from stdnum import iban
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.ie import pps
from stdnum.it import codicefiscale

from bridge.core.masking.linear import linear
from bridge.core.masking.spans import Kind, Span

Check = Callable[[str], int]
"""How many characters of a candidate are the real thing; 0 for none of it."""


def _whole(is_valid: Callable[[str], bool]) -> Check:
    return lambda found: len(found) if is_valid(found) else 0


def _is_address(found: str) -> bool:
    try:
        ip_address(found)
    except ValueError:
        return False
    return True


def _email(found: str) -> int:
    return len(found.rstrip(".!?'…"))


def _iban(found: str) -> int:
    """The candidate may have swallowed words that follow: the shortest valid beginning counts.

    A mistyped one is masked too, up to its last group with a digit in it, when it holds as many digits as an IBAN.
    """
    for end in range(15, len(found) + 1):
        if found[end : end + 1].isalnum():
            continue
        if iban.is_valid(found[:end]):
            return end
    typed = max((at for at, sign in enumerate(found) if sign.isdigit()), default=0) + 1
    return typed if sum(map(str.isdigit, found)) >= 10 else 0


def _not_ordinal(found: str) -> int:
    """`M5 2nd` has the form of a British postcode."""
    return 0 if found[-2:].lower() in {"nd", "st", "rd", "th", "am", "pm"} else len(found)


@frozen
class Form:
    """One written form: group 1 of the pattern is the candidate."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Check = len

    def spans(self, text: str) -> Iterator[Span]:
        """Where the form stands in the text."""
        for match in self.pattern.finditer(text):
            length = self.check(match.group(1))
            if length:
                yield Span(match.start(1), match.start(1) + length, self.kind)


_UPPER_STATES: Final = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA"
    "|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
_LOWER_STATES: Final = "|".join(
    state for state in _UPPER_STATES.lower().split("|") if state not in {"hi", "id", "in", "me", "oh", "ok", "or", "la"}
)
_STATES: Final = (
    "alabama|alaska|arizona|arkansas|california|colorado|connecticut|delaware|florida|georgia|hawaii|idaho|illinois|indiana|iowa"
    "|kansas|kentucky|louisiana|maine|maryland|massachusetts|michigan|minnesota|mississippi|missouri|montana|nebraska|nevada"
    "|ohio|oklahoma|oregon|pennsylvania|tennessee|texas|utah|vermont|virginia|washington|wisconsin|wyoming"
    "|new (?:hampshire|jersey|mexico|york)|(?:north|south) (?:carolina|dakota)|rhode island"
)
AT: Final = r"(?:[@\x{ff20}\x{fe6b}]|%40|&#64;|&#x40;|&commat;|[\[({]\s?at\s?[\])}])"
"""The sign of an address, also as a URL, a page, or one who hides from robots writes it."""
_DOT: Final = r"(?:[.\x{3002}\x{ff0e}]|[\[({]\s?dot\s?[\])}])"
_SIGN: Final = r"[^\s@<>()\[\],;:\"|]"

FORMS: Final = (
    Form(Kind.EMAIL, linear(rf"(?i)((?:\"[^\"@\n]+\"|{_SIGN}+){AT}{_SIGN}*[\pL\pN]{_SIGN}*)"), _email),
    Form(Kind.EMAIL, linear(rf"(?i)([\pL\pN._%+-]+\s?{AT}\s?[\pL\pN-]+(?:\s?{_DOT}\s?\pL{{2,10}})+)")),
    Form(Kind.IBAN, linear(r"(?i)\b([a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]){11,30})\b"), _iban),
    Form(Kind.IP, linear(r"(?:^|[^0-9.])([0-9]+(?:\.[0-9]+){3,})"), _whole(_is_address)),
    Form(Kind.IP, linear(r"(?i)((?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4})"), _whole(_is_address)),
    Form(Kind.SSN, linear(r"\b([0-9]{3}[- ][0-9]{2}[- ][0-9]{4})\b")),
    Form(
        Kind.NATIONAL_ID,
        linear(r"(?i)\b([a-ceghj-pr-tw-z][a-ceghj-nprstw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d])\b"),
    ),
    Form(Kind.NATIONAL_ID, linear(r"\b([0-9]{6}-[0-9]{4})\b"), _whole(cpr.is_valid)),
    Form(Kind.NATIONAL_ID, linear(r"(?i)\b([0-9]{8}-?[a-z])\b"), _whole(dni.is_valid)),
    Form(Kind.NATIONAL_ID, linear(r"(?i)\b([xyz]-?[0-9]{7}-?[a-z])\b"), _whole(nie.is_valid)),
    Form(Kind.NATIONAL_ID, linear(r"(?i)\b([0-9]{7}[a-w][a-iw]?)\b"), _whole(pps.is_valid)),
    Form(
        Kind.NATIONAL_ID,
        linear(r"(?i)\b([a-z]{6}[0-9]{2}[a-z][0-9]{2}[a-z][0-9]{3}[a-z])\b"),
        _whole(codicefiscale.is_valid),
    ),
    Form(Kind.POSTAL_CODE, linear(r"(?i)\b([a-z]{1,2}[0-9][0-9a-z]? ?[0-9][abd-hjlnp-uw-z]{2})\b"), _not_ordinal),
    Form(Kind.POSTAL_CODE, linear(r"(?i)\b([abceghj-nprstvxy][0-9][a-z][ -]?[0-9][a-z][0-9])\b")),
    Form(
        Kind.POSTAL_CODE,
        linear(rf"\b(?:{_UPPER_STATES}|{_LOWER_STATES}|(?i:{_STATES}))[.,]?\s+([0-9]{{5}}(?:-[0-9]{{4}})?)\b"),
    ),
    Form(Kind.POSTAL_CODE, linear(r"\b([0-9]{5}-[0-9]{4})\b")),
)

_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,7}\.?"
_YEAR: Final = r"(?:19|20)[0-9]{2}"
_DAY: Final = r"(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH_NO: Final = r"(?:0?[1-9]|1[0-2])"
_CLOCK: Final = r"(?:o'?clock|am|pm|a\.m|p\.m|k|mi|sq)"
_UNIT: Final = (
    r"(?:dollars?|usd|eur|gbp|bucks|cents?|euros?|pounds?|rupees?|inr|yen|quid|grand|percent|per cent|pct|miles?|km"
    r"|kilomet(?:er|re)s?|met(?:er|re)s?|feet|foot|ft|inch(?:es)?|lbs?|kgs?|kilos?|grams?|mg|ml|days?|weeks?|months?|years?"
    r"|hours?|hrs?|minutes?|mins?|seconds?|people|persons?|passengers?|times|points|degrees|square|gb|mb|kwh|watts|million|billion)"
)

READABLE: Final = linear(
    "(?i)"
    # 2026-11-20, 2026/11/20T10:00
    rf"(?:\b{_YEAR}[-/.]{_MONTH_NO}[-/.]{_DAY}(?:t[0-9:.]{{0,15}}z?)?\b"
    # 03/05/1987, 3.5.87, 20-11-2026, 06/2026 as on a card, and 5/13
    rf"|\b{_DAY}[-/.]{_DAY}[-/.]{_YEAR}\b|\b{_DAY}/{_DAY}/[0-9]{{2}}\b|\b{_MONTH_NO}\s?/\s?{_YEAR}\b|\b{_DAY}/{_DAY}\b"
    # March 3rd, 2026; 3rd of March 2026; may 25 at 10
    rf"|\b{_MONTH}\s+(?:the\s+)?{_DAY}(?:st|nd|rd|th)?\b(?:[\s,.]+{_YEAR}\b)?"
    rf"|\b{_DAY}\s?(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:[\s,.]+{_YEAR}\b)?"
    # 10:15, 00:46:43.120
    r"|\b[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,3})?)?\b"
    # $1,250.00, usd 300, 1,250.00, 12.50
    r"|(?:[$€£¥₹]|\b(?:usd|eur|gbp|rs|inr)\.?)\s?[0-9]{1,3}(?:,[0-9]{3}){1,3}(?:\.[0-9]{1,2})?\b"
    r"|(?:[$€£¥₹]|\b(?:usd|eur|gbp|rs|inr)\.?)\s?[0-9]{1,9}(?:\.[0-9]{1,2})?\b"
    r"|\b[0-9]{1,3}(?:,[0-9]{3}){1,2}(?:\.[0-9]{1,2})?\b|\b[0-9]{1,6}\.[0-9]{1,2}\b"
    # 1250 euros, 100000 miles, 15 %
    rf"|\b[0-9]{{1,7}}(?:[.,][0-9]{{1,3}}){{0,2}}\s?(?:[€£%]|{_UNIT}\b)|\b[0-9]{{1,4}}\s?{_CLOCK}\b)"
)
"""Dates, times, amounts and measures. A candidate that is a part of a longer number is none: see `numbers`."""

UNIT_AFTER: Final = linear(rf"(?i)[\s-]*(?:and a half |or so )?(?:[€%]|{_UNIT}\b)")
MONTH_BEFORE: Final = linear(rf"(?i)\b{_MONTH}(?:\s+the)?(?:\s+\w+(?:st|nd|rd|th))?[\s,]*$")
MONTH_AFTER: Final = linear(rf"(?i)(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b")
PLACEHOLDER: Final = linear(rf"\[((?:{'|'.join(Kind)})_[0-9]{{1,7}})\]")
"""What the masking puts in a value's place."""


_ANY_FORM: Final = linear("|".join(f"(?:{form.pattern.pattern})" for form in FORMS))


def written(text: str) -> Iterator[Span]:
    """Spans of every written form; they may overlap."""
    if _ANY_FORM.search(text):
        for form in FORMS:
            yield from form.spans(text)
