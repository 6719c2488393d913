"""Microseconds from bytes to event and back, for a transcription of 2.6 KB.

    python tests/bench/events_bench.py

Best of several rounds: what the code costs, not what else the machine did. The limit for `parse` is 15 us.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from bridge.core.codec import dump, load
from bridge.core.genesys import decode, parse
from bridge.core.signature import sign_standard, verify_standard

CORPUS = Path(__file__).parents[1] / "corpus" / "envelopes"
SIZE, ROUNDS, CALLS = 2_600, 15, 2_000
SECRET = "whsec_" + "c" * 32


def transcription() -> bytes:
    """The corpus' sample, with as many words as make it that long."""
    envelope = json.loads((CORPUS / "transcription.json").read_text(encoding="utf-8"))
    best = envelope["eventBody"]["transcripts"][0]["alternatives"][0]
    while len(raw := json.dumps(envelope, separators=(",", ":")).encode()) < SIZE:
        for said, words in (("transcript", "words"), ("decoratedTranscript", "decoratedWords")):
            best[words].append({**best[words][0], "word": "again"})
            best[said] += " again"
    return raw


def microseconds(call: Callable[[], object]) -> float:
    """Of one call, in the fastest round."""
    return min(_round(call) for _ in range(ROUNDS)) / CALLS * 1e6


def _round(call: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(CALLS):
        call()
    return perf_counter() - began


def main() -> None:
    raw = transcription()
    envelope = decode(raw)
    (event,) = parse(envelope)
    kind, body = dump(event)
    signature = sign_standard("msg_1", 1_767_348_000, raw, [SECRET]).encode()
    headers = [(b"webhook-id", b"msg_1"), (b"webhook-timestamp", b"1767348000"), (b"webhook-signature", signature)]
    rows: dict[str, Callable[[], object]] = {
        f"decode, {len(raw)} bytes": lambda: decode(raw),
        "parse": lambda: parse(envelope),
        "codec.dump": lambda: dump(event),
        f"codec.load, {len(body)} bytes": lambda: load(kind, body),
        "verify_standard": lambda: verify_standard(headers, raw, [SECRET], 1_767_348_000),
    }
    for name, call in rows.items():
        sys.stdout.write(f"{name:28} {microseconds(call):6.2f} us\n")


if __name__ == "__main__":
    main()
