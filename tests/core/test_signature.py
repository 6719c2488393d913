"""Made-up secrets throughout; the package `standardwebhooks` is the oracle."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.signature import (
    Verified,
    check_secret,
    sign_standard,
    verify_open_messaging,
    verify_standard,
    verify_token,
)
from bridge.errors import SignatureError

Headers = list[tuple[bytes, bytes]]

NOW = 1_767_348_000
BODY = b'{"topicName":"v2.x","text":"\xc3\xa4"}'
FIRST, SECOND = ("whsec_" + base64.b64encode(letter * 24).decode() for letter in (b"1", b"2"))
OPEN = ["an open messaging secret", "älterer Schlüssel von früher"]
TOKENS = ["the-bearer-token-1", "bridge:user-and-password"]


def signed(*secrets: str, name: str = "msg_1", at: int = NOW, body: bytes = BODY) -> Headers:
    return [
        (b"Host", b"bridge"),
        (b"Webhook-Id", name.encode()),
        (b"webhook-timestamp", str(at).encode()),
        (b"webhook-signature", sign_standard(name, at, body, secrets).encode()),
    ]


def replaced(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [(given, value if given.lower() == name else had) for given, had in headers]


def refusal(verify: Callable[[], Verified]) -> str:
    with pytest.raises(SignatureError) as refused:
        verify()
    assert (refused.value.status, refused.value.code) == (401, "signature")
    return refused.value.detail


# --- Standard Webhooks --------------------------------------------------------------------------------------------


def test_a_signature_proves_its_sender_and_gives_the_id() -> None:
    assert verify_standard(signed(FIRST), BODY, [FIRST], NOW) == Verified(0, "msg_1")


def test_any_of_the_secrets_may_match_any_of_the_signatures() -> None:
    assert verify_standard(signed(SECOND), BODY, [FIRST, SECOND], NOW).secret == 1
    assert verify_standard(signed(FIRST, SECOND), BODY, [SECOND], NOW).secret == 0
    assert verify_standard(signed(FIRST), BODY, [FIRST.removeprefix("whsec_")], NOW).secret == 0


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 4_000_000_000))
def test_signatures_are_those_of_the_standard_package(body: str, at: int) -> None:
    theirs = standardwebhooks.Webhook(FIRST).sign("msg_1", datetime.fromtimestamp(at, UTC), body)
    assert sign_standard("msg_1", at, body.encode(), [FIRST]) == theirs
    assert verify_standard(signed(FIRST, at=at, body=body.encode()), body.encode(), [FIRST], at) == Verified(0, "msg_1")


def test_the_standard_package_takes_our_signatures() -> None:
    at = int(datetime.now(UTC).timestamp())  # their verifier reads the machine's clock
    headers = {name.decode().lower(): value.decode() for name, value in signed(FIRST, SECOND, at=at)}
    for secret in (FIRST, SECOND):
        standardwebhooks.Webhook(secret).verify(BODY, headers, json_parse=False)


def test_a_changed_body_id_or_time_proves_nothing() -> None:
    good = signed(FIRST)
    refusal(lambda: verify_standard(good, BODY + b" ", [FIRST], NOW))
    refusal(lambda: verify_standard(replaced(good, b"webhook-id", b"msg_2"), BODY, [FIRST], NOW))
    refusal(lambda: verify_standard(replaced(good, b"webhook-timestamp", b"1767348001"), BODY, [FIRST], NOW))
    refusal(lambda: verify_standard(good, BODY, [SECOND], NOW))
    refusal(lambda: verify_standard(good, BODY, [], NOW))


@pytest.mark.parametrize(("age", "taken"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_five_minutes_are_tolerated_both_ways(age: int, taken: bool) -> None:  # noqa: FBT001 - a column of the table
    headers = signed(FIRST, at=NOW - age)
    if taken:
        assert verify_standard(headers, BODY, [FIRST], NOW).secret == 0
    else:
        said = refusal(lambda: verify_standard(headers, BODY, [FIRST], NOW))
        assert ("too old" if age > 0 else "future") in said


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_each_header_must_come_once(name: bytes) -> None:
    good = signed(FIRST)
    without = [pair for pair in good if pair[0].lower() != name]
    doubled = [*good, *(pair for pair in good if pair[0].lower() == name)]
    assert refusal(lambda: verify_standard(without, BODY, [FIRST], NOW)) == f"the header {name.decode()} is missing"
    assert "more than once" in refusal(lambda: verify_standard(doubled, BODY, [FIRST], NOW))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"webhook-id", b""),
        (b"webhook-id", b"a.b"),
        (b"webhook-id", b"a b"),
        (b"webhook-id", b"\xe4"),
        (b"webhook-id", b"x" * 257),
        (b"webhook-timestamp", b""),
        (b"webhook-timestamp", b"+1767348000"),
        (b"webhook-timestamp", b"1767348000.0"),
        (b"webhook-timestamp", b"1_767_348_000"),
        (b"webhook-timestamp", "\uff11\uff17".encode()),
        (b"webhook-timestamp", b"1" * 13),
        (b"webhook-timestamp", b"nan"),
        (b"webhook-signature", b""),
        (b"webhook-signature", b"v1"),
        (b"webhook-signature", b"v1,"),
        (b"webhook-signature", b"v1,not base64"),
        (b"webhook-signature", b"v1,AAA"),
        (b"webhook-signature", b"v1,AAB="),
        (b"webhook-signature", b"v1,\xff"),
    ],
)
def test_a_malformed_header_is_named(name: bytes, value: bytes) -> None:
    headers = replaced(signed(FIRST), name, value)
    said = refusal(lambda: verify_standard(headers, BODY, [FIRST], NOW))
    assert said.startswith(f"{name.decode()}: ")
    assert said.endswith("would be right")


def test_other_versions_are_passed_over_and_eight_signatures_are_the_most() -> None:
    right = dict(signed(FIRST))[b"webhook-signature"]

    def verify(value: bytes) -> Verified:
        return verify_standard(replaced(signed(FIRST), b"webhook-signature", value), BODY, [FIRST], NOW)

    assert verify(b"v1a,AAAA " + right).secret == 0
    assert verify(b"v1,AAAA " * 7 + right).secret == 0
    assert "no v1 signature" in refusal(lambda: verify(b"v1a" + right[2:]))
    assert "eight" in refusal(lambda: verify(b"v1,AAAA " * 8 + right))
    assert "eight" in refusal(lambda: verify(b"v1,AAAA  " + right))


def test_a_signature_has_one_spelling() -> None:
    right = dict(signed(FIRST))[b"webhook-signature"]
    # 32 bytes leave two bits unused in the last letter before the padding: the next letter decodes to the same bytes.
    other = right[:-2] + bytes([right[-2] + 1]) + b"="
    assert base64.b64decode(other[3:]) == base64.b64decode(right[3:])
    for wrong in (other, right.rstrip(b"=")):
        with pytest.raises(SignatureError, match="Base64"):
            verify_standard(replaced(signed(FIRST), b"webhook-signature", wrong), BODY, [FIRST], NOW)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ä", "\ud800", "x" * 257])
def test_an_id_that_would_be_refused_is_not_signed(name: str) -> None:
    with pytest.raises(SignatureError, match="webhook-id"):
        sign_standard(name, NOW, BODY, [FIRST])


# --- Open Messaging -----------------------------------------------------------------------------------------------


def hub(secret: str, body: bytes = BODY) -> bytes:
    return b"sha256=" + base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())


def test_open_messaging_signs_the_raw_body_in_base64() -> None:
    for index, secret in enumerate(OPEN):
        assert verify_open_messaging([(b"x-hub-signature-256", hub(secret))], BODY, OPEN) == Verified(index)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"sha256=",
        hub(OPEN[0]).rstrip(b"="),
        hub(OPEN[0]).removeprefix(b"sha256="),
        hub(OPEN[0]).upper(),
        b"sha1=" + hub(OPEN[0]).removeprefix(b"sha256="),
        b"sha256=" + hmac.new(OPEN[0].encode(), BODY, hashlib.sha256).hexdigest().encode(),
        b"sha256=AAAA",
        hub("another secret of that length"),
        hub(OPEN[0], BODY + b"\n"),
    ],
)
def test_any_other_open_messaging_signature_is_refused(value: bytes) -> None:
    headers = [(b"X-Hub-Signature-256", value)]
    assert refusal(lambda: verify_open_messaging(headers, BODY, OPEN)).startswith("X-Hub-Signature-256: ")


def test_the_open_messaging_header_must_come_once() -> None:
    pair = (b"X-Hub-Signature-256", hub(OPEN[0]))
    assert "missing" in refusal(lambda: verify_open_messaging([], BODY, OPEN))
    assert "more than once" in refusal(lambda: verify_open_messaging([pair, pair], BODY, OPEN))


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (b"Bearer the-bearer-token-1", 0),
        (b"bearer the-bearer-token-1", 0),
        (b"the-bearer-token-1", 0),
        (b"Basic " + base64.b64encode(TOKENS[1].encode()), 1),
    ],
)
def test_a_token_is_taken_as_bearer_as_basic_or_bare(value: bytes, index: int) -> None:
    assert verify_token([(b"authorization", value)], TOKENS) == Verified(index)
    assert verify_token([(b"x-api-key", value)], TOKENS, header="X-API-Key") == Verified(index)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer the-bearer-token-",
        b"Bearer the-bearer-token-11",
        b"Basic the-bearer-token-1",
        b"Basic " + TOKENS[1].encode(),
        b"Digest the-bearer-token-1",
        b"Bearer \xff\xfe",
        b"Basic \xff",
    ],
)
def test_any_other_token_is_refused(value: bytes) -> None:
    assert refusal(lambda: verify_token([(b"Authorization", value)], TOKENS)).startswith("Authorization: ")


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [("standard", FIRST), ("standard", FIRST[6:]), ("genesys_open_messaging", OPEN[1]), ("token", TOKENS[1])],
)
def test_a_good_secret_is_good(scheme: str, secret: str) -> None:
    assert check_secret(scheme, secret) is None


@pytest.mark.parametrize(
    ("scheme", "secret", "wrong"),
    [
        ("standard", "", "too few"),
        ("standard", "whsec_", "too few"),
        ("standard", "whsec_c2hvcnQ=", "5 bytes are too few"),
        ("standard", "whsec_no base64 at all", "not Base64"),
        ("standard", "schlüssel", "not Base64"),
        ("standard", "\ud800", "not Base64"),
        ("genesys_open_messaging", "fifteen letters", "at least 16"),
        ("genesys_open_messaging", "\ud800" * 20, "UTF-8"),
        ("token", "", "too short"),
        ("token", "two words of it", "visible ASCII"),
        ("token", "schlüsselwort", "visible ASCII"),
        ("none", "x", "no such scheme"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said(scheme: str, secret: str, wrong: str) -> None:
    assert wrong in (check_secret(scheme, secret) or "")


def test_a_secret_that_nobody_checked_lets_nobody_in() -> None:
    empty = [(b"Authorization", b"Bearer ")]
    assert "cannot be used" in refusal(lambda: verify_token(empty, [""]))
    key = base64.b64encode(hmac.new(b"", BODY, hashlib.sha256).digest())
    assert "cannot be used" in refusal(
        lambda: verify_open_messaging([(b"X-Hub-Signature-256", b"sha256=" + key)], BODY, [""])
    )
    assert "cannot be used" in refusal(lambda: verify_standard(signed(FIRST), BODY, ["whsec_"], NOW))


def test_no_refusal_holds_a_secret_or_the_right_signature() -> None:
    forged = signed(SECOND)
    said = refusal(lambda: verify_standard(forged, BODY, [FIRST], NOW))
    said += refusal(lambda: verify_open_messaging([(b"X-Hub-Signature-256", hub("x" * 20))], BODY, OPEN))
    said += refusal(lambda: verify_token([(b"Authorization", b"Bearer guess")], TOKENS))
    right = dict(signed(FIRST))[b"webhook-signature"].decode()
    for secret in (FIRST[6:], *OPEN, *TOKENS, right[3:], hub(OPEN[0]).decode()[7:]):
        assert secret not in said


# --- anything -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256", b"authorization", b"\xff"]
)
VALUES = st.binary(max_size=40) | st.sampled_from(
    [*(value for _, value in signed(FIRST, SECOND)), hub(OPEN[0]), b"Bearer the-bearer-token-1", b"v1,", b"Basic =="]
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
NEARLY = st.tuples(NAMES, VALUES).map(lambda pair: replaced(signed(FIRST), *pair))
SECRETS = st.lists(st.sampled_from([FIRST, OPEN[0], TOKENS[0], "", "\ud800"]) | st.text(max_size=20), max_size=3)


@given(HEADERS | NEARLY, st.binary(max_size=20) | st.just(BODY), SECRETS, st.floats(0, 1e12) | st.just(NOW))
def test_any_headers_prove_something_or_are_refused(
    headers: Headers, body: bytes, secrets: list[str], now: float
) -> None:
    checks: list[Callable[[], Verified]] = [
        lambda: verify_standard(headers, body, secrets, now),
        lambda: verify_open_messaging(headers, body, secrets),
        lambda: verify_token(headers, secrets),
    ]
    for check in checks:
        try:
            verified = check()
        except SignatureError:
            continue
        assert 0 <= verified.secret < len(secrets)
