"""A CRM that takes callbacks, and is strict: each must verify with the `standardwebhooks` package."""

from __future__ import annotations

import asyncio
import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web
from attrs import define, field
from standardwebhooks import Webhook, WebhookVerificationError

Fault = Literal["status", "slow", "drop_before", "drop_after", "redirect", "garbage", "endless"]


@define
class Entry:
    """What the CRM holds under one `webhook-id`. `deliveries` counts how often it came."""

    payload: Any
    deliveries: int = 1


@define(kw_only=True)
class SimCrm:
    """What a simulated CRM is told, and what it has seen.

    The first `fault_first` posts meet the `fault`: `status` answers with `status` (and `retry_after`), `slow` waits
    `seconds`, `drop_before` and `drop_after` hang up before or after the entry is stored, `redirect` points to
    `location`, `garbage` answers with bytes that are no HTTP, `endless` never ends its answer. Of several `secrets`
    one must fit.
    """

    secrets: Sequence[str]
    fault: Fault = "status"
    fault_first: int = 0
    status: int = 503
    retry_after: str = ""
    seconds: float = 60.0
    location: str = "/elsewhere"

    posts: int = 0
    accepted: dict[str, Entry] = field(factory=dict)
    refused: list[str] = field(factory=list)

    @property
    def repeats(self) -> int:
        """Deliveries beyond the first of each id."""
        return sum(entry.deliveries - 1 for entry in self.accepted.values())


def make_crm(crm: SimCrm) -> web.Application:
    """POST to any path: 200 `{"id", "duplicate"}`, or 400, 401, 415. GET /accepted: {id: payload}."""

    async def receive(request: web.Request) -> web.StreamResponse:
        crm.posts += 1
        fault = crm.fault if crm.posts <= crm.fault_first else None
        if fault == "slow":
            await asyncio.sleep(crm.seconds)
        elif fault and fault != "drop_after":
            return await _misbehave(crm, fault, request)
        status, answer = _take(crm, request, await request.read())
        return _hang_up(request) if fault == "drop_after" else web.json_response(answer, status=status)

    async def accepted(_: web.Request) -> web.Response:
        return web.json_response({identity: entry.payload for identity, entry in crm.accepted.items()})

    app = web.Application()
    app.add_routes([web.get("/accepted", accepted), web.post("/{path:.*}", receive)])
    return app


def _take(crm: SimCrm, request: web.Request, body: bytes) -> tuple[int, dict[str, Any]]:
    """Store the entry, once for each id. Gives the status and the answer."""
    if refused := _refusal(crm, request, body):
        crm.refused.append(refused[1])
        return refused[0], {"error": refused[1]}
    identity = request.headers["webhook-id"]
    if entry := crm.accepted.get(identity):
        entry.deliveries += 1
        return 200, {"id": identity, "duplicate": True}
    crm.accepted[identity] = Entry(json.loads(body))
    return 200, {"id": identity, "duplicate": False}


def _refusal(crm: SimCrm, request: web.Request, body: bytes) -> tuple[int, str] | None:
    if request.content_type != "application/json":
        return 415, "the content type is not application/json"
    if not any(_verifies(secret, request, body) for secret in crm.secrets):
        return 401, "the signature does not verify"
    if request.headers.get("idempotency-key") != request.headers["webhook-id"]:
        return 400, "the idempotency key is not the message's id"
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return 400, "the body is no JSON"
    return None


def _verifies(secret: str, request: web.Request, body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(request.headers), json_parse=False)
    except (WebhookVerificationError, binascii.Error, ValueError):  # the package lets its parsing errors out
        return False
    return True


async def _misbehave(crm: SimCrm, fault: Fault, request: web.Request) -> web.StreamResponse:
    match fault:
        case "status":
            return web.Response(status=crm.status, headers={"Retry-After": crm.retry_after} if crm.retry_after else {})
        case "redirect":
            return web.Response(status=307, headers={"Location": crm.location})
        case "garbage":
            return _hang_up(request, b"\x00\xff no HTTP at all\r\n\r\n")
        case "endless":
            return await _pour(request)
        case _:
            return _hang_up(request)


async def _pour(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:  # ends with ConnectionError, when the other side has had enough
        await response.write(bytes(65_536))


def _hang_up(request: web.Request, last: bytes = b"") -> web.Response:
    """Close the connection without an answer; what is returned goes nowhere."""
    if request.transport:
        request.transport.write(last)
        request.transport.close()
    return web.Response()
