"""The simulated org's streaming: one socket on each channel, heartbeats, ping and pong, subscriptions on the socket."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from bridge.sim.genesys_edge import ORG, Refusal
from bridge.sim.genesys_org import Channel, Org

_CLIENT_FRAME = 65_536


async def stream(request: web.Request) -> web.WebSocketResponse:
    """GET connectUri, as it is: no header that proves anything, no query. A second socket ends the first."""
    org = request.app[ORG]
    channel = org.channel(request.match_info["channel"])
    if channel is None:
        raise Refusal(404, "not.found", "Channel not found.")
    if request.query_string or "Authorization" in request.headers:
        raise Refusal(400, "bad.request", "The connectUri must be used as it is.")
    socket = web.WebSocketResponse(compress=False, max_msg_size=_CLIENT_FRAME, timeout=1.0)
    await socket.prepare(request)
    try:
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(_beat(org, socket))
            await _take_over(request, channel, socket)
            await _read(org, channel, socket)
            beating.cancel()
    finally:  # also when the server cancels us, as it does where the other side is gone
        if channel.socket is socket:
            channel.socket = None
        org.touch()
    return socket


async def hang_up(app: web.Application) -> None:
    """Close every socket, so that the server can end."""
    for channel in app[ORG].channels.values():
        if channel.socket is not None:
            await channel.socket.close(code=1001)


async def _take_over(request: web.Request, channel: Channel, socket: web.WebSocketResponse) -> None:
    before, channel.socket = channel.socket, socket
    transport = request.transport
    channel.abort = transport.abort if transport else channel.abort
    request.app[ORG].touch()
    if before is not None:
        await before.close(code=1001)


async def _beat(org: Org, socket: web.WebSocketResponse) -> None:
    while not socket.closed:
        await org.clock.sleep(org.settings.heartbeat)
        await _answer(org, socket, _metadata("WebSocket Heartbeat"))


async def _read(org: Org, channel: Channel, socket: web.WebSocketResponse) -> None:
    async for message in socket:
        try:
            asked = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            await _answer(org, socket, {"result": "400", "status": "failure", "message": "Unparseable message."})
        elif asked.get("message") == "ping":
            await _answer(org, socket, _metadata("pong"))
        else:
            await _answer(
                org, socket, _resubscribe(org, channel, asked) | {"correlationId": asked.get("correlationId")}
            )


def _resubscribe(org: Org, channel: Channel, asked: dict[str, Any]) -> dict[str, Any]:
    topics, wish = asked.get("topics"), asked.get("message")
    if wish not in {"subscribe", "unsubscribe"} or not isinstance(topics, list):
        return {"result": "400", "status": "failure", "message": "Unknown message."}
    if org.channel(channel.id) is None:
        return {"result": "404", "message": "Channel not found."}
    if wish == "unsubscribe":
        for topic in topics:
            channel.topics.pop(topic, None)
        org.touch()
        return {"result": "200", "status": "unsubscribed"}
    kept = dict(channel.topics)
    if any(each["state"] == "Rejected" for each in org.subscribe(channel, topics)):
        channel.topics = kept
        return {"result": "400", "status": "failure", "message": "Invalid topics."}
    return {"result": "200", "status": "subscribed"}


async def _answer(org: Org, socket: web.WebSocketResponse, answer: dict[str, Any]) -> None:
    if not org.mute and not socket.closed:
        try:
            await socket.send_str(orjson.dumps(answer).decode())
        except ConnectionError:
            org.lost += 1


def _metadata(message: str) -> dict[str, Any]:
    return {"topicName": "channel.metadata", "eventBody": {"message": message}}
