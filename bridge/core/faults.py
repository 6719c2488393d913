"""What a gateway says is wrong, and what that means for another try. Pure.

A gateway may quote the prompt, or the key, in what it says. Its words are kept short, and none that repeat ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from attrs import field, frozen

from bridge.core.retry import NOT_NOW
from bridge.errors import GatewayError

LONGEST_MESSAGE: Final = 200
"""Characters of a gateway's own message that an error keeps."""
ECHO: Final = 12
"""So many characters in a row that a message shares with the prompt are taken for a quotation of it."""
_FINAL_KINDS: Final = ("invalid", "authentication", "permission", "not_found", "content_filter")
_NAME: Final = re.compile(r"[\w.-]{1,64}")


@frozen
class Fault:
    """What a gateway says is wrong: an error body, or an error frame of a stream."""

    kind: str = ""
    code: str = ""
    message: str = field(default="", repr=False)
    status: int | None = None

    @property
    def passing(self) -> bool:
        """Whether another try may help, as far as the fault itself says."""
        if self.status is not None:
            return is_passing(self.status)
        return not any(word in f"{self.kind} {self.code}" for word in _FINAL_KINDS)


def is_passing(status: int) -> bool:
    """Whether a status speaks of the moment: 409 is a try of the same key that the gateway is still busy with."""
    return status in NOT_NOW or status == 409 or status >= 500


def refusal(
    model: str, status: int, body: bytes, said: Iterable[str], *, retry_after: float | None = None
) -> GatewayError:
    """The error for an answer that is no success. It says what to set, where that is known."""
    advice = _ADVICE.get(status) or (_REDIRECT if 300 <= status < 400 else "")
    fault = parse_fault(body)
    told = " ".join(_names(fault)) if status in {401, 403} else describe(fault, said)
    detail = (
        f"{model}: the gateway answers {status}" + (f" ({told})" if told else "") + (f": {advice}" if advice else "")
    )
    return GatewayError(detail, status=status, retry_after=retry_after, retryable=is_passing(status))


_REDIRECT: Final = "redirects are not followed; set [gateway] url and path to where it leads"
_ADVICE: Final = {
    401: "the key is missing or wrong; set [gateway] key to env:NAME or file:PATH",
    403: "the key may not do this; give it access to the model, or set [gateway] key and model to a pair that fits",
    404: "there is no such path or model; check [gateway] url, path and model",
}


def parse_fault(body: bytes) -> Fault:
    """What an error answer's body says; an empty fault when it says nothing we can read."""
    try:
        return fault_of(orjson.loads(body))
    except ValueError:
        return Fault()


def describe(fault: Fault, said: Iterable[str]) -> str:
    """The fault in one short line. Of a message that quotes one of the texts `said`, nothing is kept."""
    names = " ".join(_names(fault))
    message = " ".join("".join(c if c.isprintable() else " " for c in fault.message[: 4 * LONGEST_MESSAGE]).split())
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    quotes = any(_quotes(message, one) for one in said)
    return ": ".join(part for part in (names, "" if quotes else message) if part)


def _names(fault: Fault) -> list[str]:
    return list(dict.fromkeys(name for name in (fault.kind, fault.code) if _NAME.fullmatch(name)))


def _quotes(message: str, said: str) -> bool:
    said = " ".join(said.split())
    if len(said) < ECHO:
        return bool(said) and bool(re.search(rf"\b{re.escape(said)}\b", message))
    return any(message[at : at + ECHO] in said for at in range(len(message) - ECHO + 1))


def fault_of(body: Any) -> Fault:
    """`{"error": {…}}`, `{"error": "…"}`, or the inner object alone."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return Fault(message=error if isinstance(error, str) else "")
    kind, code, message = error.get("type"), error.get("code"), error.get("message")
    status = next((one for one in (error.get("status"), code) if type(one) is int and 400 <= one < 600), None)
    return Fault(
        kind if isinstance(kind, str) else "",
        str(code) if isinstance(code, (str, int)) else "",
        message if isinstance(message, str) else "",
        status,
    )
