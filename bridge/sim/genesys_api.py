"""The simulated org's login and API: strict about method, path, header, token and body, with the real error bodies."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from attrs import define, field

from bridge.sim.genesys_calls import transcript
from bridge.sim.genesys_org import Channel, Org

ORG: web.AppKey[Org] = web.AppKey("org", Org)
_API = "/api/v2/"
_CHANNELS = f"{_API}notifications/channels"
_MESSAGES = f"{_API}conversations/messages/{{conversation}}/messages"
_TRANSCRIPT = (
    f"{_API}speechandtextanalytics/conversations/{{conversation}}/communications/{{communication}}/transcripturl"
)


@define
class Refusal(Exception):  # noqa: N818 - what the API answers
    """An error body on its way out."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(factory=dict)
    params: dict[str, str] = field(factory=dict)

    def answer(self) -> web.Response:
        """The body that every error of the API has."""
        body = {
            "message": self.message,
            "code": self.code,
            "status": self.status,
            "messageParams": self.params,
            "contextId": str(uuid.uuid4()),
            "details": [],
            "errors": [],
        }
        return web.json_response(body, status=self.status, headers=self.headers)


@define(eq=False)
class Limits:
    """Calls of each token in the present minute."""

    allowed: int
    _counts: dict[str, tuple[int, int]] = field(init=False, factory=dict)

    def count(self, token: str, now: float) -> dict[str, str]:
        """Count one call; the rate limit headers. Raises Refusal when it is one too many."""
        minute, reset = int(now // 60), max(1, round(60 - now % 60))
        seen = self._counts.get(token, (minute, 0))
        used = seen[1] + 1 if seen[0] == minute else 1
        self._counts[token] = (minute, used)
        if self.allowed and used > self.allowed:
            raise too_many(str(reset))
        shown = {"count": used, "allowed": self.allowed or 300, "reset": reset}
        return {f"inin-ratelimit-{key}": str(value) for key, value in shown.items()}


def too_many(retry_after: str) -> Refusal:
    """429, as all API calls have answered since November 2021."""
    message = f"Rate limit exceeded the maximum. Retry the request in [{retry_after}] seconds"
    return Refusal(429, "too.many.requests.retry.after", message, headers={"Retry-After": retry_after})


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_edge(limits: Limits) -> Any:
    """The middleware that every request passes: set faults, tokens, rate limits, error bodies, correlation id."""

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            headers = _admit(request, limits)
            answer = await handler(request)
        except Refusal as refusal:
            headers, answer = {}, refusal.answer()
        except web.HTTPException as refused:
            code = {404: "not.found", 405: "method.not.allowed"}.get(refused.status, "bad.request")
            headers, answer = {}, Refusal(refused.status, code, f"HTTP {refused.status} {refused.reason}").answer()
        if not answer.prepared:
            answer.headers.update(headers)
            answer.headers["ININ-Correlation-Id"] = str(uuid.uuid4())
        return answer

    return edge


def _admit(request: web.Request, limits: Limits) -> dict[str, str]:
    org = request.app[ORG]
    if not request.path.startswith((_API, "/oauth/")):
        return {}
    org.requests.append((request.method, request.path))
    org.touch()
    _fault(request, org)
    if not request.path.startswith(_API):
        return {}
    token = bearer(request)
    if not org.knows(token):
        raise Refusal(401, "bad.credentials", "Invalid login credentials.")
    return limits.count(token, org.clock.monotonic())


def _fault(request: web.Request, org: Org) -> None:
    status = org.answers.popleft() if org.answers else None
    if status is None or status == 200:
        return
    if status == 0 and request.transport:
        request.transport.abort()
    if status == 429:
        raise too_many(org.retry_after)
    if status == 401:
        org.tokens.clear()
        return
    raise Refusal(status or 500, "internal.server.error", "An error that was asked for.")


def bearer(request: web.Request) -> str:
    """The access token that came with a request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        message = "No authentication bearer token specified in authorization header."
        raise Refusal(401, "authentication.required", message)
    return token


def need(request: web.Request, *permissions: str) -> Org:
    """The org, when the OAuth client may do this."""
    org = request.app[ORG]
    missing = ", ".join(name for name in permissions if name in org.settings.lacking)
    if missing:
        message = f"Unable to perform the requested action. You are missing the following permission(s): {missing}"
        raise Refusal(403, "missing.permissions", message, params={"permissions": missing})
    return org


async def body_of(request: web.Request, kind: type) -> Any:
    """The JSON body, which must be of that kind."""
    if request.content_type != "application/json":
        raise Refusal(415, "unsupported.media.type", "HTTP 415 Unsupported Media Type")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, kind):
        raise Refusal(400, "bad.request", "The request could not be understood by the server due to malformed syntax.")
    return body


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
    web.get(_API + "conversations/{conversation}", get_conversation, allow_head=False),
    web.get(_MESSAGES + "/{message}", get_message, allow_head=False),
    web.post(_MESSAGES + "/bulk", get_messages),
    web.post(_API + "analytics/conversations/details/query", find_conversations),
    web.get(_TRANSCRIPT, get_transcript_url, allow_head=False),
    web.get("/transcripts/{conversation}/{communication}", get_transcript, allow_head=False),
]
