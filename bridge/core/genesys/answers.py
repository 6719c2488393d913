"""What the answers of Genesys Cloud's API say, and the one query that we ask of its analytics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bridge.core.channels import TopicState
from bridge.core.genesys.fields import iso

PAGE = 100
"""Conversations on one page of a details query."""

_HOUR_MS = 3_600_000
_PERMISSION = re.compile(r"[A-Za-z]+:[A-Za-z]+:[A-Za-z]+")


def why_refused(status: int, body: Any) -> str:
    """One line for people: the missing permission, or the service's own code. Nothing else of the body is repeated."""
    if status == 403:
        return f"the OAuth client lacks a permission: {', '.join(_permissions(body)) or 'the answer does not name it'}"
    if status == 401:
        return "the token is refused, a new one too"
    return line(str(mapping(body).get("code") or "no reason given"))


def _permissions(body: Any) -> list[str]:
    named = mapping(body)
    try:
        told = orjson.dumps([named.get("messageParams"), named.get("message")]).decode()
    except orjson.JSONEncodeError:  # it nests deeper than any answer of the service
        return []
    return list(dict.fromkeys(_PERMISSION.findall(told)))


def topic_state(entity: Mapping[str, Any]) -> TopicState:
    """One entry of the answer to a subscription. What is not plainly permitted is not."""
    missing = entity.get("missingPermissions")
    return TopicState(
        str(entity.get("id")),
        entity.get("state") == "Permitted",
        line(str(entity.get("rejectionReason") or "")),
        tuple(map(str, missing)) if isinstance(missing, list) else (),
    )


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a digital message; "" when it has none."""
    text = message.get("textBody") or mapping(message.get("normalizedMessage")).get("text")
    return text if isinstance(text, str) else ""


def active_query(queues: Sequence[str], users: Sequence[str], now_ms: int, *, hours: int, page: int) -> dict[str, Any]:
    """A details query for conversations of these queues or users that began within `hours` and have no end."""
    named = [("queueId", each) for each in queues] + [("userId", each) for each in users]
    matching = [{"dimension": kind, "operator": "matches", "value": each} for kind, each in named]
    return {
        "interval": f"{iso(now_ms - hours * _HOUR_MS)}/{iso(now_ms + _HOUR_MS)}",
        "order": "asc",
        "orderBy": "conversationStart",
        "paging": {"pageSize": PAGE, "pageNumber": page},
        "conversationFilters": [
            {"type": "and", "predicates": [{"dimension": "conversationEnd", "operator": "notExists"}]}
        ],
        "segmentFilters": [{"type": "or", "predicates": matching}],
    }


def mapping(found: Any) -> dict[str, Any]:
    """The object, or an empty one for anything else."""
    return found if isinstance(found, dict) else {}


def entries(found: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list of that name; none for anything else."""
    listed = mapping(found).get(name)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def line(text: str) -> str:
    """One printable line, shortened."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:200])
