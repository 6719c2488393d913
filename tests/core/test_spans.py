from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.masking.spans import Kind, Place, Span, free, settle

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from(Kind))).map(
    lambda drawn: [Span(start, start + length, kind) for start, length, kind in drawn]
)


@given(SPANS)
def test_settled_spans_cover_the_same_characters_once(spans: list[Span]) -> None:
    settled = settle(spans)
    covered = [at for span in settled for at in range(span.start, span.end)]
    assert covered == sorted({at for span in spans for at in range(span.start, span.end)})


def test_the_longer_of_two_that_begin_together_gives_the_kind() -> None:
    assert settle([Span(3, 5, Kind.PHONE), Span(3, 9, Kind.IBAN)]) == [Span(3, 9, Kind.IBAN)]


@given(SPANS, SPANS)
def test_free_places_touch_no_claim_and_no_other_is_dropped(spans: list[Span], claimed: list[Span]) -> None:
    claims: list[Place] = list(settle(claimed))
    kept = free(spans, claims)
    assert kept == [
        span for span in spans if not any(span.start < claim.end and claim.start < span.end for claim in claims)
    ]
