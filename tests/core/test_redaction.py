from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.genesys import parse
from bridge.core.masking import Vault, find
from bridge.core.masking.redaction import redact

ROOT = Path(__file__).parents[2]
SHARED = sorted((ROOT.parent / "shared" / "recordings" / "primock57").glob("*.jsonl.gz"))[:3]
BANK_CALL = ROOT / "config" / "scenarios" / "bank_call.jsonl"


def envelopes(path: Path) -> Iterator[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        yield from (json.loads(line) for line in file)


def said(envelope: dict[str, Any]) -> Iterator[str]:
    for transcript in envelope["eventBody"].get("transcripts", ()):
        yield from (alternative["transcript"] for alternative in transcript["alternatives"])


def body(**fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = redact({"topicName": "v2.x", "eventBody": fields}, Vault())["eventBody"]
    return told


@pytest.mark.parametrize("path", [BANK_CALL, *SHARED], ids=lambda path: path.name)
def test_a_redacted_recording_tells_the_same_events_and_no_personal_data(path: Path) -> None:
    vault, hidden = Vault(), 0
    for envelope in envelopes(path):
        redacted = redact(envelope, vault)
        assert [event.id for event in parse(redacted)] == [event.id for event in parse(envelope)]
        out = json.dumps(redacted)
        for text in said(envelope):
            for span in find(text):
                hidden += 1
                assert text[span.start : span.end] not in out
        assert '"word":' not in out
    assert hidden or path != BANK_CALL


@pytest.mark.skipif(not SHARED, reason="the shared recordings are not beside this checkout")
def test_the_shared_recordings_were_looked_at() -> None:
    assert len(SHARED) == 3


@pytest.mark.parametrize(
    "kept",
    [
        "9054f85d-70f4-531d-8b29-6051fff97da4",
        "0123456789abcdef0123456789abcdef",
        "2026-03-02T09:15:00.350Z",
        "SESSION_ENDED",
        "en-us",
    ],
)
def test_ids_times_and_states_stay(kept: str) -> None:
    assert body(it=kept) == {"it": kept}


def test_every_depth_and_every_key_is_masked() -> None:
    told = body(attributes={"mail of jane@example.com": [{"card": "4111111111111111"}, "tel:+14155550100"]})
    assert told == {"attributes": {"mail of [EMAIL_1]": [{"card": "[CARD_1]"}, "tel:[PHONE_1]"]}}


def test_numbers_and_truths_stay_as_they_are() -> None:
    assert body(at=1_772_442_900_000, final=True, share=0.9, none=None) == {
        "at": 1_772_442_900_000, "final": True, "share": 0.9, "none": None,
    }  # fmt: skip


def test_what_came_is_not_changed() -> None:
    envelope = {"topicName": "v2.x", "eventBody": {"words": ["a"], "text": "jane@example.com is it"}}
    before = json.dumps(envelope)
    redact(envelope, Vault())
    assert json.dumps(envelope) == before
