"""What every request to the simulated org passes: set faults, tokens, rate limits, the real error bodies."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from attrs import define, field

from bridge.sim.genesys_org import Org

ORG: web.AppKey[Org] = web.AppKey("org", Org)
API = "/api/v2/"


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
    if not request.path.startswith((API, "/oauth/")):
        return {}
    org.requests.append((request.method, request.path))
    org.touch()
    _fault(request, org)
    if not request.path.startswith(API):
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
