"""The words beside a number that say what it is: `my social is`, `card ending in`, `order number`.

The words before a number count most, the nearest first; those just after it count in the form `5411 is my ssn`.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from bridge.core.masking.spans import Kind

WINDOW: Final = 64
"""So many characters before a number are looked at. Bounded, so that plain `re` stays linear here."""


@frozen
class Name:
    """What the words beside a number call it. `close`: near enough to name even a fragment of a few digits."""

    kind: Kind
    close: bool


_NUMBER: Final = r"(?: (?:code|number|no|num|id|reference|ref))?"
_NAMES: Final = {
    "SSN": r"ssn?n|s\.?s\.?n\.?|s s n|social(?: security)?|soc sec",
    "CARD": r"cards?|credit|debit|visa|master ?card|amex|american express|cc",
    "POSTAL_CODE": r"zip(?: ?code)?|postal(?: code)?|post ?code|pin ?code|area pin",
    "SECRET": (
        r"pass ?(?:word|code|phrase|key)s?|pin|otp|one[ -]time|c ?v ?[vc]2?|csc|cvn"
        r"|(?:security|access|verification|confirmation|login|auth\w*) (?:code|pin)|pwd|code"
    ),
    "IBAN": r"iban",
    "NATIONAL_ID": (
        r"passport|driv\w+'?s? licen[cs]e|licen[cs]e|national (?:insurance|id)\w*|nino|tax(?:payer)? id\w*|itin|ein"
        r"|cpr|aadhaa?r|sin|nhs|medicare|steuer\w*"
    ),
    "ACCOUNT": (
        r"acc?\w{0,2}o\w{1,3}[nm]ts?|acct|acc?|a/c|checking|savings?|policy|member(?:ship)?|routing|sort code|claim"
        r"|loan|customer (?:id|number|no)|user ?id|employee id|subscriber|confirmation|booking|reference"
    ),
    "PHONE": r"(?:tele)?phones?|mobile|cell(?:phone)?|tel|ph|fax|whats ?app",
    "LAST": (
        r"(?:last|first|final)(?: (?:four|4|three|3|five|5|six|6)(?: (?:digit|number)s?)?| ?$)"
        r"|end(?:ing|s)?(?: in| with)?"
    ),
    "REACH": r"contact|call|reach|text|dial|ring",
    "ORDER": rf"(?:order|tracking|ticket|invoice|item|model|part|flight){_NUMBER}",
    "PLAIN": (
        r"(?:room|gate|version|page|chapter|apartment|apt|suite|error|area|promo|coupon|discount|dress|country|bar|qr)"
        rf"{_NUMBER}"
    ),
    "STOP": (
        r"charged?|charges|paid|pay|payments?|owe[sd]?|fees?|worth|limit|balance|score|rating|expir\w*|exp|since|ago|valid"
        r"|amounts?|total|price|cost|years?|for|transfer\w*|order(?:ed)?|income|salary"
    ),
}
_NAME: Final = re.compile(
    r"(?i)\b(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _NAMES.items()) + r")(?![a-z'])"
)
_LINK: Final = re.compile(
    r"(?i)(?:[\s:#=.,?!()\"'*-]|\b(?:number|numbers|no|num|nos|id|is|are|was|were|si|its?|it's|that's|thats|be|would|will|the|my"
    r"|of|for|and|on|file|reference|ref|digits?|code|um|uh|yes|sure|okay|as|well|in|with|s|right|here|just)\b)*"
)
_AFTER: Final = re.compile(
    r"(?i)[\s,]*(?:(?:is|are|was|were|as|that's|being|for) )?(?:(?:my|the|our|his|her) )"
    r"(?:(?:last|first) (?:four|4)(?: digits)? of )?(?:(?:my|the) )?(?:"
    + "|".join(f"(?P<{name}>{_NAMES[name]})" for name in ("SSN", "CARD", "SECRET", "ACCOUNT", "POSTAL_CODE", "PHONE"))
    + r")\b"
)
_YEAR_BEFORE: Final = re.compile(
    r"(?i)\b(?:(?<!end )(?<!ends )(?<!ending )in|since|year|until|till|by|before|after|from|of|late|early|mid"
    r"|around)\s*$"
)
_AMOUNT_BEFORE: Final = re.compile(
    r"(?i)\b(?:amounts?|balance|total|price|limit|worth|income|salary|paid|pay|owed?|owes|transfer(?:red)?|costs?|charged"
    r"|earn|deposit(?:ed)?|withdr[ae]w|budget|deductible|premium|mileage)"
    r"(?: (?:me|of|is|was|about|around|up to|to be|just|only|over|like|roughly))*[\s:$]*$"
)
_HARMLESS: Final = {"ORDER": 12, "PLAIN": 5}
"""Names of numbers that tell nothing of a person, and how many digits such a number has at most."""


def name_before(text: str, start: int, floor: int) -> Name | int | None:
    """What the words before position `start` call the number there; `floor` is where the number before it ended.

    A Name; or, where they call it an order, a room or the like, up to how many digits of such a number stay readable;
    or None.
    """
    window = text[max(floor, start - WINDOW) : start]
    found = [match for match in _NAME.finditer(window) if match.start() or not _cut(text, start, floor)]
    if not found:
        return None
    last = found[-1]
    link = _LINK.match(window, last.end())
    linked = link is not None and link.end() == len(window)
    if last.lastgroup in _HARMLESS:
        return _HARMLESS[last.lastgroup] if linked else _named(found[:-1], close=False)
    if last.lastgroup == "STOP":
        return _named(found[:-1], close=False)
    return _named(found, close=linked or len(window[last.end() :].split()) <= 4)


def _cut(text: str, start: int, floor: int) -> bool:
    """Whether the window begins inside a word, whose rest may look like a name."""
    edge = max(floor, start - WINDOW)
    return edge > floor and text[edge - 1].isalnum()


def _named(found: list[re.Match[str]], *, close: bool) -> Name | None:
    """The nearest name; `last four` and `call` take their kind from a name further off."""
    groups = [match.lastgroup for match in reversed(found) if match.lastgroup not in {*_HARMLESS, "STOP"}]
    for group in groups:
        if group not in {"LAST", "REACH"}:
            return Name(Kind(str(group)), close)
    if "LAST" in groups:
        return Name(Kind.ACCOUNT, close)
    return Name(Kind.PHONE, close=False) if groups else None


def name_after(text: str, end: int) -> Name | None:
    """What the words right after position `end` call the number before it: `5411 is my ssn`."""
    match = _AFTER.match(text, end, end + WINDOW)
    return Name(Kind(str(match.lastgroup)), close=True) if match else None


def tells_a_year(text: str, start: int) -> bool:
    """Whether the word before says that four digits are a year."""
    return _YEAR_BEFORE.search(text[max(0, start - WINDOW) : start]) is not None


def tells_an_amount(text: str, start: int) -> bool:
    """Whether the word right before says how much: `a balance of`, `transfer`."""
    return _AMOUNT_BEFORE.search(text[max(0, start - WINDOW) : start]) is not None
