"""What masking finds in labelled texts of others, by the yardsticks of `tests.bench.masking_figures`."""

from __future__ import annotations

import pytest

from tests.bench.masking_figures import PII, TARGETS, labelled, spoken

pytestmark = pytest.mark.skipif(not PII.is_dir(), reason="the labelled texts are not beside this checkout")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("multidogo-dev.jsonl", TARGETS.keys() - {"IBAN"}), ("presidio-synth.jsonl", TARGETS.keys())],
)
def test_labelled_texts_are_masked_as_well_as_is_promised(name: str, kinds: set[str]) -> None:
    shares = labelled(name, set(kinds))
    assert shares.keys() == kinds
    assert {kind: share for kind, share in shares.items() if share < TARGETS[kind]} == {}


def test_of_spoken_numbers_few_stay_readable_and_few_amounts_and_dates_do_not() -> None:
    left_open, hidden = spoken()
    assert left_open <= 3
    assert hidden <= 2
