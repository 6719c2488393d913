from __future__ import annotations

import json

import pytest

from bridge.core.problem import CODES, Problem, problem_for, problem_of
from bridge.errors import PayloadError, RejectedError, SignatureError


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (SignatureError("no signature header"), 401, "signature"),
        (PayloadError("no eventBody"), 422, "payload"),
        (PayloadError("no JSON", status=400, code="malformed"), 400, "malformed"),
        (RejectedError(503, "backlog", "too much waits", retry_after=7), 503, "backlog"),
    ],
)
def test_a_refusal_becomes_a_document_with_status_code_and_detail(error: RejectedError, status: int, code: str) -> None:
    document = json.loads(problem_of(error).body())
    assert set(document) == {"type", "title", "status", "detail", "code"}
    assert (document["status"], document["code"], document["detail"]) == (status, code, str(error))


def test_only_a_refusal_that_will_pass_says_when() -> None:
    assert Problem(503, "backlog", "", retry_after=7).headers()["Retry-After"] == "7"
    assert "Retry-After" not in Problem(422, "payload", "").headers()


def test_a_detail_with_half_a_character_is_written_all_the_same() -> None:
    assert json.loads(Problem(422, "payload", "\udcff").body())["detail"] == "\udcff"


@pytest.mark.parametrize("status", [404, 405, 413, 417, 426, 500])
def test_any_status_of_the_framework_has_a_document(status: int) -> None:
    problem = problem_for(status)
    assert problem.code == CODES.get(status, f"http_{status}")
    assert json.loads(problem.body())["title"]
