"""Panel sessions: one conversation, for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.session import sign_session, verify_session
from bridge.errors import RejectedError


def test_a_session_opens_its_conversation_until_it_is_over() -> None:
    session = sign_session("c1", 1_000, "secret")
    verify_session(session, "c1", "secret", 999.9)
    with pytest.raises(RejectedError, match="over"):
        verify_session(session, "c1", "secret", 1_000.0)


def test_a_session_opens_no_other_conversation() -> None:
    with pytest.raises(RejectedError, match="not for this conversation"):
        verify_session(sign_session("c1", 1_000, "secret"), "c2", "secret", 0)


def test_a_longer_life_cannot_be_written_into_a_session() -> None:
    forged = sign_session("c1", 1_000, "secret").replace("1000.", "9000.")
    with pytest.raises(RejectedError, match="not for this conversation"):
        verify_session(forged, "c1", "secret", 0)


@given(st.text())
def test_any_other_text_is_refused(session: str) -> None:
    with pytest.raises(RejectedError):
        verify_session(session, "c1", "secret", 0)
