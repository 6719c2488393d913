"""A session of the panel: one conversation, for a while, signed. It is all that the panel's address carries."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Final

from bridge.errors import RejectedError

_FORM: Final = re.compile(r"(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


def sign_session(conversation: str, until: int, secret: str) -> str:
    """A session for `conversation` that ends at `until` (seconds since 1970)."""
    return f"{until}.{_signature(conversation, until, secret)}"


def verify_session(session: str, conversation: str, secret: str, now: float) -> None:
    """Raises RejectedError 401 `session` for one that is missing, forged, over, or of another conversation."""
    form = _FORM.fullmatch(session)
    if form is None:
        raise RejectedError(401, "session", "the panel's address has no valid session: open it from the agent desktop")
    if not hmac.compare_digest(form[2], _signature(conversation, int(form[1]), secret)):
        raise RejectedError(401, "session", "this session is not for this conversation")
    if int(form[1]) <= now:
        raise RejectedError(401, "session", "this session is over: open the panel again")


def _signature(conversation: str, until: int, secret: str) -> str:
    return hmac.new(secret.encode(), f"{until}:{conversation}".encode(), sha256).hexdigest()
