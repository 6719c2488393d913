"""What the gateway's simulator refuses: the checks of the real service, with its error objects."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import hdrs, web
from attrs import frozen

ROLES = ("system", "user", "assistant", "developer")


class Refused(Exception):  # noqa: N818 - what the service says, not an error of ours
    """An answer with an OpenAI error object."""

    def __init__(  # noqa: PLR0913 - the fields of the error object
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: str = "",
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.error = {"message": message, "type": kind, "param": param, "code": code}

    def response(self, **headers: str | None) -> web.Response:
        """As the client sees it, with the headers that have a value."""
        given = {name: value for name, value in headers.items() if value}
        if self.retry_after:
            given[hdrs.RETRY_AFTER] = self.retry_after
        return web.json_response({"error": self.error}, status=self.status, headers=given)


@frozen
class Asked:
    """A request that passed every check. `messages` are (role, content)."""

    key: str
    model: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    stream: bool
    include_usage: bool
    body: bytes

    @property
    def system(self) -> str:
        """All that the operator says."""
        return "\n".join(content for role, content in self.messages if role in {"system", "developer"})

    @property
    def user(self) -> str:
        """What the user says last."""
        return next((content for role, content in reversed(self.messages) if role == "user"), "")


def check_key(request: web.Request, key: str) -> None:
    """Refuses a request without the bearer token; with `key` "" any will do."""
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if key and (scheme != "Bearer" or not hmac.compare_digest(given.encode("utf-8", "replace"), key.encode())):
        raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")


def check_media(request: web.Request) -> None:
    """Refuses what is no JSON, and a format other than the strict one."""
    if request.content_type != "application/json":
        raise Refused(415, f"Unsupported content type: '{request.content_type}'. Send application/json.")
    if request.headers.get("X-Request-Format", "strict") != "strict":
        raise Refused(400, "X-Request-Format must be 'strict'.", param="X-Request-Format")


def parse_request(body: bytes, key: str, models: Sequence[str]) -> Asked:
    """The request in a JSON body. Raises Refused at the first thing that is wrong."""
    try:
        asked = orjson.loads(body)
    except ValueError:
        raise Refused(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(asked, dict):
        raise Refused(400, "The body must be a JSON object.")
    for name in asked:
        if name not in _FIELDS:
            raise Refused(400, f"Unrecognized request argument supplied: {name}", param=name)
    for name, check in _FIELDS.items():
        if (problem := check(asked.get(name))) is not None:
            raise Refused(400, f"Invalid value for '{name}': {problem}", param=name, code="invalid_value")
    if asked["model"] not in models:
        raise Refused(404, f"The model '{asked['model']}' does not exist.", param="model", code="model_not_found")
    return Asked(
        key,
        asked["model"],
        tuple((message["role"], message["content"]) for message in asked["messages"]),
        asked.get("max_tokens") or 4096,
        bool(asked.get("stream")),
        bool((asked.get("stream_options") or {}).get("include_usage")),
        body,
    )


def _model(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "you must provide a model."


def _messages(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "it must be a list with at least one message."
    for n, message in enumerate(value):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            return f"message {n} must be an object with role and content."
        if message["role"] not in ROLES:
            return f"the role of message {n} must be one of {', '.join(ROLES)}."
        if not isinstance(message["content"], str):
            return f"the content of message {n} must be a string."
    return None


def _temperature(value: Any) -> str | None:
    fits = value is None or (type(value) in (int, float) and 0 <= value <= 2)
    return None if fits else "it must be a number from 0 to 2."


def _max_tokens(value: Any) -> str | None:
    return None if value is None or (type(value) is int and value > 0) else "it must be an integer above 0."


def _stream(value: Any) -> str | None:
    return None if value is None or isinstance(value, bool) else "it must be true or false."


def _stream_options(value: Any) -> str | None:
    usable = value is None or (isinstance(value, dict) and isinstance(value.get("include_usage", False), bool))
    return None if usable else "it must be an object, and include_usage true or false."


_FIELDS: Mapping[str, Callable[[Any], str | None]] = {
    "model": _model,
    "messages": _messages,
    "temperature": _temperature,
    "max_tokens": _max_tokens,
    "stream": _stream,
    "stream_options": _stream_options,
}
