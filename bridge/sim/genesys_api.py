"""The simulated org's login and API, strict about method, path and body."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from aiohttp import web

from bridge.sim.genesys_calls import transcript
from bridge.sim.genesys_edge import API, ORG, Refusal, bearer, body_of, need
from bridge.sim.genesys_org import Channel

_CHANNELS = f"{API}notifications/channels"
_MESSAGES = f"{API}conversations/messages/{{conversation}}/messages"
_TRANSCRIPT = (
    f"{API}speechandtextanalytics/conversations/{{conversation}}/communications/{{communication}}/transcripturl"
)


# --- login --------------------------------------------------------------------------------------------------------


async def log_in(request: web.Request) -> web.Response:
    """POST /oauth/token, for client credentials only."""
    org = request.app[ORG]
    who = f"{org.settings.client_id}:{org.settings.client_secret.show()}"
    if request.headers.get("Authorization") != "Basic " + base64.b64encode(who.encode()).decode():
        return web.json_response({"error": "invalid_client"}, status=401)
    form = await request.post()
    if request.content_type != "application/x-www-form-urlencoded" or form.get("grant_type") != "client_credentials":
        return web.json_response({"error": "unsupported_grant_type"}, status=400)
    life = int(org.settings.token_life)
    return web.json_response({"access_token": org.make_token(), "token_type": "bearer", "expires_in": life})


# --- channels -----------------------------------------------------------------------------------------------------


async def make_channel(request: web.Request) -> web.Response:
    """POST channels: no body; a new channel."""
    org = request.app[ORG]
    return web.json_response(org.describe(org.make_channel(bearer(request)), _streaming(request)))


async def list_channels(request: web.Request) -> web.Response:
    """GET channels."""
    org = request.app[ORG]
    return web.json_response({"entities": [org.describe(each, _streaming(request)) for each in org.live_channels()]})


async def head_channel(request: web.Request) -> web.Response:
    """HEAD channel: is it there?"""
    _channel(request)
    return web.Response()


async def list_topics(request: web.Request) -> web.Response:
    """GET subscriptions."""
    return web.json_response({"entities": [{"id": topic} for topic in _channel(request).topics]})


async def add_topics(request: web.Request) -> web.Response:
    """POST subscriptions: adds."""
    return await _subscribe(request, replace=False)


async def replace_topics(request: web.Request) -> web.Response:
    """PUT subscriptions: replaces the whole list."""
    return await _subscribe(request, replace=True)


async def drop_topics(request: web.Request) -> web.Response:
    """DELETE subscriptions: removes all."""
    _channel(request).topics.clear()
    request.app[ORG].touch()
    return web.Response()


async def _subscribe(request: web.Request, *, replace: bool) -> web.Response:
    org, channel = request.app[ORG], _channel(request)
    listed = await body_of(request, list)
    asked = [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]
    if len(asked) != len(listed):
        raise Refusal(400, "bad.request", "Each topic must have an id.")
    if len(set(asked) | (set() if replace else set(channel.topics))) > org.settings.topics:
        raise Refusal(400, "notifications.topics.too.many", f"A channel holds at most {org.settings.topics} topics.")
    kept = dict(channel.topics)
    if replace:
        channel.topics.clear()
    entities = org.subscribe(channel, asked)
    rejected = [each["id"] for each in entities if each["state"] == "Rejected"]
    if rejected and request.query.get("ignoreErrors") != "true":
        channel.topics = kept
        raise Refusal(400, "notifications.invalid.topic", f"Invalid topics: {', '.join(rejected)}")
    return web.json_response({"entities": entities})


def _channel(request: web.Request) -> Channel:
    channel = request.app[ORG].channel(request.match_info["channel"])
    if channel is None:
        raise Refusal(404, "not.found", f"Channel not found: {request.match_info['channel']}")
    return channel


def _streaming(request: web.Request) -> str:
    return f"{'wss' if request.secure else 'ws'}://{request.host}"


# --- conversations ------------------------------------------------------------------------------------------------


async def get_conversation(request: web.Request) -> web.Response:
    """GET conversation: its snapshot."""
    org = need(request, "conversation:communication:view")
    call = org.calls.get(request.match_info["conversation"])
    if call is None:
        raise Refusal(404, "not.found", "Conversation not found.")
    return web.json_response(call.body())


async def get_message(request: web.Request) -> web.Response:
    """GET one digital message."""
    org = need(request, "conversation:message:view")
    key = (request.match_info["conversation"], request.match_info["message"])
    if key not in org.messages:
        raise Refusal(404, "not.found", "Message not found.")
    return web.json_response(_message(key[1], org.messages[key]))


async def get_messages(request: web.Request) -> web.Response:
    """POST messages/bulk: those of the listed ids that are there."""
    org = need(request, "conversation:message:view")
    conversation = request.match_info["conversation"]
    found = [mid for mid in await body_of(request, list) if (conversation, mid) in org.messages]
    return web.json_response({"entities": [_message(mid, org.messages[conversation, mid]) for mid in found]})


async def find_conversations(request: web.Request) -> web.Response:
    """POST analytics details query: of its filters, `conversationEnd notExists` and queues and users are understood."""
    org = need(request, "analytics:conversationDetail:view")
    query = await body_of(request, dict)
    if "/" not in str(query.get("interval")):
        raise Refusal(400, "bad.request", "An interval is required.")
    wanted = {each["value"] for part in query.get("segmentFilters", ()) for each in part["predicates"]}
    found = [call for call in org.calls.values() if not call.ended and wanted & {call.queue, *call.users}]
    size, number = query["paging"]["pageSize"], query["paging"]["pageNumber"]
    page = found[size * (number - 1) : size * number]
    return web.json_response({"conversations": [{"conversationId": each.id} for each in page], "totalHits": len(found)})


def _message(message: str, text: str) -> dict[str, Any]:
    return {"id": message, "textBody": text, "normalizedMessage": {"id": message, "type": "Text", "text": text}}


# --- transcripts --------------------------------------------------------------------------------------------------


async def get_transcript_url(request: web.Request) -> web.Response:
    """GET transcripturl: a signed address, once the transcript is ready."""
    need(request, "recording:recording:view", "speechAndTextAnalytics:data:view")
    conversation, communication = _transcript_key(request)
    path = f"/transcripts/{conversation}/{communication}?X-Amz-Expires=600&X-Amz-Signature={uuid.uuid4().hex}"
    return web.json_response({"url": f"{request.scheme}://{request.host}{path}"})


async def get_transcript(request: web.Request) -> web.Response:
    """The file behind the signed address; as at S3, a second way to authenticate is refused."""
    if "Authorization" in request.headers or "X-Amz-Signature" not in request.query:
        refused = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
        return web.Response(status=400, text=refused, content_type="application/xml")
    conversation, communication = _transcript_key(request)
    return web.json_response(transcript(request.app[ORG].calls[conversation], communication))


def _transcript_key(request: web.Request) -> tuple[str, str]:
    org = request.app[ORG]
    conversation, communication = request.match_info["conversation"], request.match_info["communication"]
    ready = org.ended.get(conversation, float("inf")) + org.settings.transcript_after
    call = org.calls.get(conversation)
    if call is None or communication not in call.phrases or org.clock.monotonic() < ready:
        raise Refusal(404, "not.found", "Transcript not found.")
    return conversation, communication


ROUTES = [
    web.post("/oauth/token", log_in),
    web.post(_CHANNELS, make_channel),
    web.get(_CHANNELS, list_channels, allow_head=False),
    web.head(_CHANNELS + "/{channel}", head_channel),
    web.get(_CHANNELS + "/{channel}/subscriptions", list_topics, allow_head=False),
    web.post(_CHANNELS + "/{channel}/subscriptions", add_topics),
    web.put(_CHANNELS + "/{channel}/subscriptions", replace_topics),
    web.delete(_CHANNELS + "/{channel}/subscriptions", drop_topics),
    web.get(API + "conversations/{conversation}", get_conversation, allow_head=False),
    web.get(_MESSAGES + "/{message}", get_message, allow_head=False),
    web.post(_MESSAGES + "/bulk", get_messages),
    web.post(API + "analytics/conversations/details/query", find_conversations),
    web.get(_TRANSCRIPT, get_transcript_url, allow_head=False),
    web.get("/transcripts/{conversation}/{communication}", get_transcript, allow_head=False),
]
