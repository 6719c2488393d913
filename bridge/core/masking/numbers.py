"""What a run of digits is: a card, a phone number, an account; or an amount, a date, a count that stays readable.

Thirteen digits or more are always masked. Six or more are masked unless they are a date, an amount, a measure or an
order number. Fewer count only where a word beside them names them, or where they are all that was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from stdnum import luhn
from stdnum.de import idnr

from bridge.core.masking.digits import Run, runs
from bridge.core.masking.linear import linear
from bridge.core.masking.naming import WINDOW, Name, name_after, name_before, tells_a_year, tells_an_amount
from bridge.core.masking.patterns import MONTH_AFTER, MONTH_BEFORE, UNIT_AFTER
from bridge.core.masking.spans import Kind, Place, Span

_BELOW_100: Final = "(?:YU?|T|U)"
_BELOW_1000: Final = f"(?:D|{_BELOW_100}H{_BELOW_100}?|{_BELOW_100})"
_CARDINAL: Final = linear(f"(?:{_BELOW_1000}?M)?(?:{_BELOW_1000}?K)?{_BELOW_1000}?")
_SINGLES: Final = linear("[ZU234]+")
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_DATED: Final = re.compile(r"(?i)\b(?:born|birth\w*|dob|date[ds]?|expir\w*)\b")
_DAY_MONTH: Final = re.compile(r"(?:(?:0?[1-9]|[12]\d|3[01])(?:0?[1-9]|[12]\d|3[01])|0?[1-9]|1[0-2])(?:19|20)?\d\d")
_COMPACT: Final = re.compile(
    r"(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:19|20)\d\d"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
)
"""A date without its signs, 03052026: of 500 numbers of eight digits, one looks like this by chance."""
_LEAD: Final = linear(
    r"(?i)(?:[^\pL\p{Nd}]|\b(?:its?|it's|is|yes|yeah|yep|sure|ok|okay|um|uh|so|that's|thats|number)\b)*"
)
_TAIL: Final = linear(r"(?i)(?:[^\pL\p{Nd}]|\b(?:thanks|thank you|please|ok|okay|um|uh)\b)*")
_GLUED: Final = 4
_FEWEST: Final = {Kind.SSN: 3, Kind.SECRET: 3, Kind.POSTAL_CODE: 3}
"""How many digits a named fragment must have to count; 4 for the other kinds."""


def numbered(text: str, walls: Sequence[Place], *, open_end: bool) -> Iterator[Span]:
    """Spans of the runs of digits between the walls (sorted, disjoint).

    `open_end`: the speaker may go on in a next utterance, so four digits at the end may be the beginning of a number.
    """
    floors, floor = iter(walls), 0
    wall = next(floors, None)
    for run in runs(text, walls):
        while wall and wall.end <= run.start:
            floor, wall = max(floor, wall.end), next(floors, None)
        kind = _kind(text, run, floor, open_end=open_end)
        if len(run.digits) >= 3:
            floor = run.end
        if kind:
            yield _widened(text, run, kind)


def _kind(text: str, run: Run, floor: int, *, open_end: bool) -> Kind | None:
    """The kind to mask a run as; None: it stays readable."""
    digits = run.digits
    count = len(digits)
    if count < 3 or _is_cardinal(run):
        return None
    name = name_before(text, run.start, floor) or name_after(text, run.end)
    named = name if isinstance(name, Name) else None
    if count >= 13:
        return _long(run, named)
    if (isinstance(name, int) and count <= name) or _is_amount(text, run, named) or _is_date(text, run, named):
        return None
    if named and named.close and count >= _FEWEST.get(named.kind, 4):
        return named.kind
    if count >= 6 or (count == 5 and _stands_out(run)):
        return named.kind if named else _by_shape(text, run)
    return Kind.ACCOUNT if count >= 4 and _is_answer(text, run, open_end=open_end) else None


def _is_cardinal(run: Run) -> bool:
    """`two hundred fifty thousand` is a quantity; `one eight hundred five five five` is none."""
    signs = run.signs
    return len(signs) <= 16 and any(sign in "HKM" for sign in signs) and _CARDINAL.fullmatch(signs) is not None


def _is_amount(text: str, run: Run, named: Name | None) -> bool:
    """`12000 miles`, `one two five zero dollars`, `a balance of 120450`; and `250000`, so round that it is no name."""
    if len(run.digits) > 7:
        return False
    if UNIT_AFTER.match(text[run.end : run.end + WINDOW]):
        return True
    round_one = run.digits.endswith("000") and not (named and named.close)
    return len(run.tokens) == 1 and (round_one or tells_an_amount(text, run.start))


def _is_date(text: str, run: Run, named: Name | None) -> bool:
    """A year or a few of them, a day and year beside a month's name, or digits where a word tells of a date."""
    digits = run.digits
    years = len(digits) <= 12 and all(_YEAR.fullmatch(digits[at : at + 4]) for at in range(0, len(digits), 4))
    if _is_beside_a_month(text, run):
        return True
    if named and named.close:
        return years and tells_a_year(text, run.start)
    if years or (len(run.tokens) == 1 and _COMPACT.fullmatch(digits)):
        return True
    dated = _DATED.search(text[max(0, run.start - WINDOW) : run.start])
    return dated is not None and _DAY_MONTH.fullmatch(digits) is not None


def _is_beside_a_month(text: str, run: Run) -> bool:
    """`august sixteen nineteen seventy six`, `seventeen of january nineteen eighty seven`."""
    if len(run.digits) > 6 or not _YEAR.fullmatch(run.digits[-4:]):
        return False
    first = run.tokens[0].end
    before = MONTH_BEFORE.search(text[max(0, run.start - WINDOW) : run.start])
    return (before or MONTH_AFTER.match(text[first : first + WINDOW])) is not None


def _stands_out(run: Run) -> bool:
    """Five digits said one by one, or the rest of a long number that a spreadsheet left: `545 e 15`."""
    if run.is_spoken:
        return _SINGLES.fullmatch(run.signs) is not None
    return run.groups == [3, 2] and run.tokens[1].digits[0] == "1" and run.tokens[1].start - run.tokens[0].end >= 3


def _is_answer(text: str, run: Run, *, open_end: bool) -> bool:
    """Whether the number is all that was said, so that a question before it asked for it; or the last thing said."""
    if int(run.digits) % 100 == 0 or not (len(run.tokens) == 1 or _SINGLES.fullmatch(run.signs)):
        return False
    if text[run.end : run.end + 1].isalnum() or not _TAIL.fullmatch(text[run.end : run.end + WINDOW]):
        return False
    return len(text) - run.end <= WINDOW and (
        open_end or (run.start <= WINDOW and _LEAD.fullmatch(text[: run.start]) is not None)
    )


def _long(run: Run, named: Name | None) -> Kind:
    """Thirteen digits or more: the check digit chooses the label, not whether it is masked."""
    digits = run.digits
    if run.groups[:3] == [3, 3, 4] and not named:
        return Kind.PHONE
    if len(digits) <= 19 and (luhn.is_valid(digits) or (named and named.kind is Kind.CARD)):
        return Kind.CARD
    return (
        named.kind if named and named.kind in {Kind.IBAN, Kind.NATIONAL_ID, Kind.SECRET, Kind.PHONE} else Kind.ACCOUNT
    )


def _by_shape(text: str, run: Run) -> Kind:
    """Six to twelve digits that nobody named."""
    count = len(run.digits)
    if count == 11 and run.digits[0] not in "01" and idnr.is_valid(run.digits):
        return Kind.NATIONAL_ID
    if run.groups[-2:] == [3, 4] or text[max(0, run.start - 1) : run.start] in {"+", "("}:
        return Kind.PHONE
    lettered = not run.is_spoken and any(map(str.isalpha, text[run.start : run.end]))
    return Kind.PHONE if count >= 10 and not lettered else Kind.ACCOUNT


def _widened(text: str, run: Run, kind: Kind) -> Span:
    """The run with what belongs to it: `+` and brackets, and letters glued to it as in `AB123456`."""
    start = run.start - _letters(text[max(0, run.start - _GLUED - 1) : run.start][::-1])
    end = run.end + _letters(text[run.end : run.end + _GLUED + 1])
    while start and text[start - 1] in "(+":
        start -= 1
    if text[start:end].count("(") > text[start:end].count(")") and text[end : end + 1] == ")":
        end += 1
    return Span(start, end, kind)


def _letters(beside: str) -> int:
    """How many letters are glued to a number; a whole word is none of it."""
    count = next((at for at, sign in enumerate(beside) if not sign.isalpha()), len(beside))
    return count if count <= _GLUED else 0
