"""Plays recordings through the simulated org: over its channels, or as an integrator's forwarder would post them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from attrs import define
from standardwebhooks.webhooks import Webhook

from bridge.ports import Clock
from bridge.settings import Secret
from bridge.sim.genesys_org import Org

Line = Mapping[str, Any]
Wrap = Literal["standard", "eventbridge"]


async def play(org: Org, lines: Iterable[Line], *, speed: float | None = None, ring: float = 5.0) -> int:
    """Publish recording lines with the gaps they were recorded with, divided by `speed` (None: no gaps); how many.

    A conversation first appears as a snapshot on the topics of its queue, and then rings: until a channel wants its
    transcription, for at most `ring` seconds. So a listener that only follows the queue gets everything.
    """
    conversations = _by_conversation(lines)
    zero = min((_received(parts[0]) for parts in conversations.values()), default=0.0)

    async def one(conversation: str, parts: list[Line]) -> None:
        start = _received(parts[0])
        await _pause(org.clock, start - zero, speed)
        if conversation:
            await _ring(org, conversation, parts, ring)
        await _pace(org.clock, parts, speed, lambda line: _publish(org, conversation, line))

    async with asyncio.TaskGroup() as group:
        for conversation, parts in conversations.items():
            group.create_task(one(conversation, parts))
    return sum(map(len, conversations.values()))


@define
class Posted:
    """What the receiver answered."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    retries: int = 0


async def post_webhooks(  # noqa: PLR0913 - the settings of a forwarder, by name
    url: str,
    secret: Secret,
    lines: Iterable[Line],
    *,
    clock: Clock,
    speed: float | None = None,
    wrap: Wrap = "standard",
    tries: int = 8,
) -> Posted:
    """Post recording lines one after another; what is answered 429 or 503 is posted again.

    Bare and signed (Standard Webhooks, `secret` as `whsec_…`), or as EventBridge's API destination does, with the
    secret as bearer token.
    """
    posted = Posted()
    ordered = sorted(lines, key=_received)
    async with ClientSession(timeout=ClientTimeout(total=30)) as session:

        async def post(line: Line) -> None:
            body = _wrapped(line) if wrap == "eventbridge" else orjson.dumps(_envelope(line))
            for attempt in range(tries):
                if not await _post(session, url, _headers(wrap, secret, body, clock), body, posted):
                    return
                posted.retries += 1
                await clock.sleep(min(30.0, 0.5 * 2**attempt))
            posted.refused += 1

        await _pace(clock, ordered, speed, post)
    return posted


# --- channels -----------------------------------------------------------------------------------------------------


async def _ring(org: Org, conversation: str, parts: list[Line], seconds: float) -> None:
    bodies = [_envelope(line)["eventBody"] for line in parts]
    queue = next((str(body["queueId"]) for body in bodies if body.get("queueId")), "")
    call = org.call(conversation, queue)
    starts = (_envelope(line) for line in parts if str(_envelope(line)["topicName"]).endswith(".customer.start"))
    if not call.participants:
        call.take(next(starts, _appearance(conversation, parts[0])))
    await org.publish_snapshot(call)
    topic = f"v2.conversations.{conversation}.transcription"
    answered = asyncio.ensure_future(org.until(lambda: any(each.hears(topic) for each in org.live_channels())))
    patience = asyncio.ensure_future(org.clock.sleep(seconds))
    try:
        await asyncio.wait({answered, patience}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        answered.cancel()
        patience.cancel()


def _appearance(conversation: str, line: Line) -> dict[str, Any]:
    """A customer for a recording that does not say when one came."""
    session = _envelope(line)["eventBody"].get("communicationId", conversation)
    who = {"participantId": f"{conversation[:-4]}c000", "sessionId": session}
    body = {"eventTime": int(_received(line) * 1000), "conversationId": conversation, **who}
    return {"topicName": f"v2.detail.events.conversation.{conversation}.customer.start", "eventBody": body}


async def _publish(org: Org, conversation: str, line: Line) -> None:
    envelope = _envelope(line)
    changed = bool(conversation) and org.call(conversation).take(envelope)
    await org.publish(envelope)
    if changed:
        await org.publish_snapshot(org.call(conversation))


# --- webhooks -----------------------------------------------------------------------------------------------------


async def _post(session: ClientSession, url: str, headers: dict[str, str], body: bytes, posted: Posted) -> bool:
    """Post once. True: again, later."""
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            text = await answer.read()
    except (ClientError, TimeoutError):
        return True
    if answer.status in {429, 503}:
        return True
    if answer.status // 100 != 2:
        posted.refused += 1
        return False
    posted.accepted += 1
    posted.duplicates += b'"duplicate":true' in text.replace(b" ", b"")
    return False


def _headers(wrap: Wrap, secret: Secret, body: bytes, clock: Clock) -> dict[str, str]:
    plain = {"Content-Type": "application/json"}
    if wrap == "eventbridge":
        return plain | {"Authorization": f"Bearer {secret.show()}"}
    message, at = f"msg_{hashlib.sha256(body).hexdigest()[:24]}", datetime.fromtimestamp(clock.now_ms() // 1000, UTC)
    signature = Webhook(secret.show()).sign(message, at, body.decode())
    return plain | {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def _wrapped(line: Line) -> bytes:
    envelope = _envelope(line)
    parts = str(envelope["topicName"]).split(".")
    kind = ".".join("{id}" if len(part) == 36 and part.count("-") == 4 else part for part in parts)
    at = datetime.fromtimestamp(_received(line), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(
        {
            "version": "0",
            "id": hashlib.sha256(orjson.dumps(envelope)).hexdigest()[:32],
            "detail-type": kind,
            "source": "aws.partner/genesys.com/cloud/simulated/bridge",
            "account": "000000000000",
            "time": at,
            "region": "eu-central-1",
            "resources": [],
            "detail": envelope | {"timestamp": at},
        }
    )


# --- recordings ---------------------------------------------------------------------------------------------------


def _by_conversation(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines by the conversation they name; under "" what names none, snapshots too: those are made anew."""
    found: dict[str, list[Line]] = {}
    for line in sorted(lines, key=_received):
        body = _envelope(line)["eventBody"]
        found.setdefault(str(body.get("conversationId", "")), []).append(line)
    return found


def _envelope(line: Line) -> dict[str, Any]:
    inner = line.get("detail", line)
    return {key: value for key, value in inner.items() if key not in {"receivedAt", "timestamp"}}


def _received(line: Line) -> float:
    """Seconds since 1970 UTC at which the line was recorded."""
    at = line.get("receivedAt") or line.get("time") or line.get("detail", line).get("timestamp")
    return datetime.fromisoformat(str(at)).timestamp() if at else 0.0


async def _pace(
    clock: Clock, lines: Iterable[Line], speed: float | None, say: Callable[[Line], Awaitable[None]]
) -> None:
    before = None
    for line in lines:
        now = _received(line)
        if before is not None:
            await _pause(clock, now - before, speed)
        before = now
        await say(line)


async def _pause(clock: Clock, seconds: float, speed: float | None) -> None:
    if speed and seconds > 0:
        await clock.sleep(seconds / speed)
