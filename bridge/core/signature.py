"""Who sent this? Signatures and tokens, judged on the bytes as they came, before anything is parsed.

Every way a request can fail ends in SignatureError, whose message names the header and the right form, and never a
secret or the signature that would have been right. Headers are (name, value) pairs of raw bytes; a header that
counts here may come only once, since two readers of a doubled header may each take another one.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from attrs import frozen

from bridge.errors import SignatureError

Headers = Sequence[tuple[bytes, bytes]]

_MOST_SIGNATURES = 8
_PIECE = 2_000
_SHORTEST_KEY = 16
"""Bytes. Standard Webhooks asks for 24 to 64 random ones; fewer than these could be guessed."""
_SHORTEST_OPEN_SECRET = 16
"""Characters: Genesys wants more than 15."""
_SHORTEST_TOKEN = 8
_MESSAGE_ID = re.compile(rb"[!-\-/-~]{1,256}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(rb"([A-Za-z0-9]{1,8}),([!-~]{1,512})")
_VISIBLE = re.compile(r"[!-~]+")


@frozen
class Verified:
    """Proof accepted: the index of the `secret` that matched, and the message `id` where the scheme signs one."""

    secret: int
    id: str = ""


def verify_standard(
    headers: Headers, body: bytes, secrets: Sequence[str], now: float, tolerance: int = 300
) -> Verified:
    """Standard Webhooks v1. `now` in seconds since 1970; `tolerance` in seconds, both ways. Raises SignatureError.

    Any of the signatures may match any of the secrets (both are rotated); other versions such as v1a are passed over.
    """
    name = _match(_MESSAGE_ID, headers, "webhook-id", "1 to 256 visible ASCII characters without a full stop")
    sent = _match(_TIMESTAMP, headers, "webhook-timestamp", "seconds since 1970, 1 to 12 digits")
    signatures = _signatures(_only(headers, "webhook-signature"))
    _check_age(now - int(sent), tolerance)
    signed = b".".join((name, sent, body))
    index = _matching(signatures, [_hmac(_standard_key(secret), signed) for secret in secrets])
    if index is None:
        raise SignatureError("webhook-signature: no v1 signature was made with one of this source's secrets")
    return Verified(index, name.decode("ascii"))


def sign_standard(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The `webhook-signature` value, one v1 signature a secret. `timestamp` in seconds since 1970.

    Raises SignatureError for an id that `verify_standard` would refuse.
    """
    name = message_id.encode("utf-8", "surrogatepass")
    if not _MESSAGE_ID.fullmatch(name):
        raise SignatureError("webhook-id must be 1 to 256 visible ASCII characters without a full stop")
    signed = b"%b.%d.%b" % (name, timestamp, body)
    return " ".join(f"v1,{b64encode(_hmac(_standard_key(secret), signed)).decode('ascii')}" for secret in secrets)


def verify_open_messaging(headers: Headers, body: bytes, secrets: Sequence[str]) -> Verified:
    """Genesys Open Messaging: HMAC-SHA256 of the body, in Base64 (not hex as with others). Raises SignatureError.

    Nothing in it tells the time, so only the event's own id stops a replay.
    """
    form = "sha256= and the Base64 of 32 bytes, with padding"
    header, value = "X-Hub-Signature-256", _only(headers, "X-Hub-Signature-256")
    if not value.startswith(b"sha256="):
        raise SignatureError(f"{header}: {form} would be right")
    given = _base64(value.removeprefix(b"sha256="), header, form)
    index = _matching([given], [_hmac(_usable("genesys_open_messaging", secret), body) for secret in secrets])
    if index is None:
        raise SignatureError(f"{header}: the signature was not made over these bytes with one of this source's secrets")
    return Verified(index)


def verify_token(headers: Headers, tokens: Sequence[str], header: str = "Authorization") -> Verified:
    """A static header value: the token itself, `Bearer token`, or `Basic` with the token as user:password in Base64.

    All that data actions and EventBridge API destinations can send. Raises SignatureError.
    """
    value = _only(headers, header)
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() == b"bearer":
        value = rest.strip(b" ")
    elif scheme.lower() == b"basic":
        value = _base64(rest.strip(b" "), header, "Basic and the Base64 of user:password")
    index = _matching([value], [_usable("token", token) for token in tokens])
    if index is None:
        raise SignatureError(f"{header}: the token is not one of this source's")
    return Verified(index)


def check_secret(scheme: str, secret: str) -> str | None:
    """What is wrong with a secret for `standard`, `genesys_open_messaging` or `token`; None when it is good."""
    check = _CHECKS.get(scheme)
    if check is None:
        return f"no such scheme; there are {', '.join(_CHECKS)}"
    return check(secret)


def _check_standard(secret: str) -> str | None:
    try:
        key = b64decode(secret.removeprefix("whsec_").encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return "not Base64; whsec_ and the Base64 of 24 to 64 random bytes would be right"
    if len(key) < _SHORTEST_KEY:
        return f"{len(key)} bytes are too few; whsec_ and the Base64 of 24 to 64 random bytes would be right"
    return None


def _check_open_messaging(secret: str) -> str | None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return "not text that UTF-8 can hold"
    if len(secret) < _SHORTEST_OPEN_SECRET:
        return f"too short; Genesys wants at least {_SHORTEST_OPEN_SECRET} characters"
    return None


def _check_token(secret: str) -> str | None:
    if len(secret) < _SHORTEST_TOKEN:
        return f"too short; at least {_SHORTEST_TOKEN} characters would be right"
    if not _VISIBLE.fullmatch(secret):
        return "it holds a space or what is not ASCII; visible ASCII characters would be right"
    return None


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "standard": _check_standard,
    "genesys_open_messaging": _check_open_messaging,
    "token": _check_token,
}


def _usable(scheme: str, secret: str) -> bytes:
    """The secret's bytes. An empty or short one must not let anybody in, whoever forgot to check it."""
    wrong = check_secret(scheme, secret)
    if wrong:
        raise SignatureError(f"a secret of this source cannot be used: {wrong}")
    return secret.encode()


@lru_cache(maxsize=64)
def _standard_key(secret: str) -> bytes:
    return b64decode(_usable("standard", secret).removeprefix(b"whsec_"))


def _only(headers: Headers, name: str) -> bytes:
    wanted = name.lower().encode()
    values = [value for given, value in headers if given.lower() == wanted]
    if len(values) != 1:
        raise SignatureError(f"the header {name} {'is missing' if not values else 'came more than once'}")
    return values[0].strip(b" \t")


def _match(grammar: re.Pattern[bytes], headers: Headers, name: str, form: str) -> bytes:
    value = _only(headers, name)
    if not grammar.fullmatch(value):
        raise SignatureError(f"{name}: {form} would be right")
    return value


def _signatures(value: bytes) -> list[bytes]:
    """The v1 signatures of a `webhook-signature`, decoded."""
    form = "one to eight of v1,<Base64>, with a space between"
    parts = value.split(b" ")
    matched = [_SIGNATURE.fullmatch(part) for part in parts]
    if len(parts) > _MOST_SIGNATURES or not all(matched):
        raise SignatureError(f"webhook-signature: {form} would be right")
    return [_base64(one[2], "webhook-signature", form) for one in matched if one and one[1] == b"v1"]


def _check_age(age: float, tolerance: int) -> None:
    if age > tolerance:
        raise SignatureError(f"webhook-timestamp: too old, by more than {tolerance} seconds")
    if age < -tolerance:
        raise SignatureError(f"webhook-timestamp: in the future, by more than {tolerance} seconds")


def _base64(value: bytes, header: str, form: str) -> bytes:
    """Strict: no stray characters, full padding, and only the one spelling that encoding gives."""
    try:
        found = b64decode(value, validate=True)
    except binascii.Error:
        found = b""
    if not found or b64encode(found) != value:
        raise SignatureError(f"{header}: {form} would be right")
    return found


def _hmac(key: bytes, signed: bytes) -> bytes:
    """HMAC-SHA256, in pieces: for more than 2,047 bytes at once hashlib lets go of the interpreter's lock, and getting
    it back from the engine's writer thread costs more than the hash.
    """
    made = hmac.new(key, digestmod=hashlib.sha256)
    for at in range(0, len(signed), _PIECE):
        made.update(signed[at : at + _PIECE])
    return made.digest()


def _matching(given: Iterable[bytes], right: Sequence[bytes]) -> int | None:
    """The index in `right` of what was given. Compares all with all, so that the time taken tells nothing."""
    matches = [index for one in given for index, other in enumerate(right) if hmac.compare_digest(one, other)]
    return matches[0] if matches else None
