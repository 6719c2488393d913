"""Strict reads from a parsed JSON object.

Genesys omits what is empty, so every optional read takes "not there" and null for the same. A value of the wrong type
is refused with its path, what came and what would be right; the value itself is never named, it may be personal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeGuard

from bridge.errors import PayloadError

Fields = Mapping[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MOMENT = 32_503_680_000_000
"""The year 3000: nothing of ours happens later, and sums of two times stay far below 64 bits."""
_LONGEST_SPAN = 31_536_000_000_000 // 10
"""A hundred years in milliseconds."""
_LONGEST_KEY = 256
_KEY = re.compile(rf"[A-Za-z0-9._~:;=|/#$-][A-Za-z0-9._~:;=|/#$+-]{{0,{_LONGEST_KEY - 1}}}")
"""No mail address, no phone number: ids go where text may not, into logs, to a CRM and into a model's headers."""
_JSON_NAMES: Mapping[type, str] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def refuse(path: str, value: object, right: str) -> NoReturn:
    """Raise the PayloadError for a value: its path, the JSON type that came, and what would be `right`."""
    raise PayloadError(f"{path}: {_JSON_NAMES.get(type(value), 'something else')} came, {right} would be right")


def is_key(value: object) -> TypeGuard[str]:
    """Whether it can be an identifier: short and plain, so that it may stand in an id or a log line."""
    return type(value) is str and _KEY.fullmatch(value) is not None


def key(body: Fields, name: str, at: str) -> str:
    """A required identifier."""
    value = body.get(name)
    if not is_key(value):
        refuse(
            f"{at}.{name}",
            value,
            f"an identifier (1 to {_LONGEST_KEY} ASCII letters, digits and . _ - : ; = | / # $ ~, or + inside)",
        )
    return value


def text(body: Fields, name: str, at: str) -> str:
    """An optional string; "" when it is not there."""
    value = body.get(name)
    if value is None:
        return ""
    if type(value) is not str:
        refuse(f"{at}.{name}", value, "a string")
    return value


def flag(body: Fields, name: str, at: str, *, default: bool) -> bool:
    """An optional boolean."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not bool:
        refuse(f"{at}.{name}", value, "true or false")
    return value


def share(body: Fields, name: str, at: str) -> float | None:
    """An optional finite number, such as a confidence."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value):
        refuse(f"{at}.{name}", value, "a finite number")
    return float(value)


def span(body: Fields, name: str, at: str) -> int | None:
    """An optional whole number of milliseconds (or seconds) that passed: an offset or a duration."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _LONGEST_SPAN:
        refuse(f"{at}.{name}", value, "a whole number of at least 0, at most a hundred years,")
    return value


def moment(body: Fields, name: str, at: str) -> int | None:
    """An optional time in milliseconds since 1970, from a whole number or an ISO 8601 string with Z or offset."""
    value = body.get(name)
    if value is None:
        return None
    ms = read_ms(value)
    if ms is None:
        refuse(f"{at}.{name}", value, "epoch milliseconds or ISO 8601 with Z or an offset, of the years 1970 to 2999,")
    return ms


def read_ms(value: object) -> int | None:
    """What `moment` makes of a value; None when it is no time."""
    ms = value if type(value) is int else _iso_ms(value)
    return ms if ms is not None and 0 <= ms <= _LAST_MOMENT else None


def child(body: Fields, name: str, at: str) -> Fields:
    """An optional object; {} when it is not there."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        refuse(f"{at}.{name}", value, "an object")
    return value


def children(body: Fields, name: str, at: str) -> list[Fields]:
    """An optional list of objects; [] when it is not there."""
    value = body.get(name)
    if value is None:
        return []
    if type(value) is not list:
        refuse(f"{at}.{name}", value, "a list of objects")
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            refuse(f"{at}.{name}[{index}]", item, "an object")
    return value


def iso(ms: int) -> str:
    """Milliseconds since 1970 as Genesys writes them: 2026-03-21T01:09:55.225Z."""
    return (_EPOCH + ms * _MILLISECOND).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _iso_ms(value: object) -> int | None:
    if type(value) is not str:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment - _EPOCH) // _MILLISECOND if moment.tzinfo else None
