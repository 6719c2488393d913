from __future__ import annotations

import json

import pytest

from bridge.core.faults import Fault, describe, is_passing, refusal


def body(message: str, kind: str = "invalid_request_error", code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_these_may_be_tried_again(status: int) -> None:
    assert is_passing(status)
    assert refusal("m", status, b"", ()).retryable


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 413, 415, 422])
def test_these_may_not(status: int) -> None:
    error = refusal("m", status, b"", ())
    assert not error.retryable
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "[gateway] key"),
        (403, "[gateway] key and model"),
        (404, "[gateway] url"),
        (302, "redirects are not followed"),
    ],
)
def test_an_error_says_what_to_set(status: int, advice: str) -> None:
    assert advice in refusal("m", status, b"", ()).detail


def test_an_error_holds_the_gateways_own_words() -> None:
    error = refusal("m", 400, body("max_tokens is too large", code="bad_value"), ["hello there"])
    assert error.detail == "m: the gateway answers 400 (invalid_request_error bad_value: max_tokens is too large)"


def test_words_that_quote_the_prompt_are_left_out() -> None:
    prompt = "my mother's maiden name is Lovelace"
    error = refusal("m", 400, body("cannot read: my mother's\n maiden name…"), [prompt])
    assert "maiden" not in error.detail
    assert "invalid_request_error" in error.detail


def test_a_short_prompt_is_quoted_only_as_a_word() -> None:
    assert describe(Fault(message="this is wrong"), ["hi"]) == "this is wrong"
    assert describe(Fault(message="cannot answer 'hi'"), ["hi"]) == ""


def test_what_is_said_of_the_key_is_left_out() -> None:
    error = refusal("m", 401, body("Incorrect API key provided: sk-abcd", code="invalid_api_key"), ())
    assert "sk-" not in error.detail
    assert "invalid_api_key" in error.detail


def test_a_long_or_wild_message_becomes_one_short_line() -> None:
    told = describe(Fault(message="a\x1b[31m\r\n" + "b" * 5000), ())
    assert told.startswith("a [31m bbb")
    assert len(told) == 200
    assert told.endswith("…")


@pytest.mark.parametrize("raw", [b"", b"\xff", b"<html>", b"[]", b"5", b'{"error": 5}', b"[" * 50_000])
def test_a_body_that_says_nothing_is_no_crash(raw: bytes) -> None:
    assert refusal("m", 500, raw, ["x"]).detail == "m: the gateway answers 500"


@pytest.mark.parametrize(
    ("fault", "passing"),
    [
        (Fault("server_error"), True),
        (Fault(), True),
        (Fault("invalid_request_error"), False),
        (Fault(code="content_filter"), False),
        (Fault("invalid_request_error", status=503), True),
        (Fault(status=400), False),
    ],
)
def test_a_fault_says_whether_another_try_may_help(fault: Fault, passing: bool) -> None:  # noqa: FBT001 - a table
    assert fault.passing is passing
