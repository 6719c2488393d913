"""The errors of the bridge.

    BridgeError(retryable=False)
      ConfigError                     at start; lists every wrong key at once
      RejectedError(status, code)     they sent something wrong: SignatureError 401, PayloadError 422, …
      BudgetError                     the prompt cannot fit, or the budget is spent
      UpstreamError(status, retry_after, retryable)   GatewayError, GenesysError
      Later(seconds)                  a handler's wish to run again later; counts as no failure

A message names what is wrong, where, and what would be right. It never holds a secret nor text of a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LONGEST_WISH: Final = 365 * 86_400
"""Seconds that a handler may put a delivery off."""


class BridgeError(Exception):
    """Whatever the bridge raises on purpose."""

    retryable = False


class ConfigError(BridgeError):
    """The settings are wrong. `problems` holds one line each: file, path, and what would be right."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RejectedError(BridgeError):
    """They sent something that we refuse: an HTTP `status` and a stable `code` for programs."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after: int | None = None) -> None:
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after
        super().__init__(detail)


class SignatureError(RejectedError):
    """The request does not prove who sent it: 401."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, "signature", detail)


class PayloadError(RejectedError):
    """The body is no event: 422 `payload`, or 400 `malformed` when it is not even JSON."""

    def __init__(self, detail: str, *, status: int = 422, code: str = "payload") -> None:
        super().__init__(status, code, detail)


class BudgetError(BridgeError):
    """The prompt cannot fit, or a cap is spent."""


class UpstreamError(BridgeError):
    """A service outside failed. `status` is its HTTP status, None when it gave none; `retry_after` is in seconds."""

    def __init__(
        self, detail: str, *, status: int | None = None, retry_after: float | None = None, retryable: bool = True
    ) -> None:
        self.detail, self.status, self.retry_after, self.retryable = detail, status, retry_after, retryable
        super().__init__(detail)


class GatewayError(UpstreamError):
    """The LLM gateway refused, failed or broke off before the first token."""


class GenesysError(UpstreamError):
    """Genesys Cloud's API refused or failed."""


class Later(BridgeError):  # noqa: N818 - a wish, not an error
    """Raised by a handler: park this delivery for `seconds`, 0 to a year, without counting it as a failure.

    Raises ValueError for any other number.
    """

    retryable = True

    def __init__(self, seconds: float, why: str) -> None:
        if not 0 <= seconds <= LONGEST_WISH:
            raise ValueError(f"Later({seconds!r}): a wish is 0 to {LONGEST_WISH} seconds")
        self.seconds, self.why = seconds, why
        super().__init__(f"again in {seconds:g} s: {why}")
