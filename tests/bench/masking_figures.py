"""Figures of the masking on labelled and unlabelled texts: `python -m tests.bench.masking_figures [--show]`.

Looks for the data beside the checkout (`../shared`); a part whose data are absent says so and is left out. `--show`
prints the misses and false alarms themselves. The yardsticks here are written apart from the product's own patterns.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import timeit
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bridge.core.masking import Span, Vault, find, hide

SHARED = Path(__file__).parents[2].parent / "shared"
PII = SHARED / "datasets" / "pii"
SHOW = "--show" in sys.argv

SAME = {
    "PHONE_NUMBER": "PHONE",
    "US_SSN": "SSN",
    "CREDIT_CARD": "CARD",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "ZIP_CODE": "POSTAL_CODE",
}
TARGETS = {"CARD": 95, "SSN": 95, "EMAIL": 95, "IBAN": 95, "PHONE": 90}
BESIDE = {
    "SSN": r"ssn|social",
    "CARD": r"card|credit|debit|cc",
    "PHONE": r"phone|mobile|cell|ph",
}
DIGIT = (
    r"(?:\d|\b(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty"
    r"|seventy|eighty|ninety|double|triple)\b)"
)
RUN = re.compile(rf"(?i){DIGIT}(?:[\s.,()/-]{{0,3}}{DIGIT}){{5,}}")
MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]*\.?"
UNIT = r"(?:dollars|euros|bucks|percent|%)"
PLAIN = re.compile(
    r"(?i)\b\d{1,2}/\d{1,2}(?:/\d{2,4})?\b|\b\d{1,2}/\d{4}\b|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}:\d{2}\b|\b(?:19|20)\d\d\b"
    rf"|\b{MONTH} \d{{1,2}}\w*[.,]*(?: \d{{4}})?|\b\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{MONTH}(?:,? \d{{4}})?"
    rf"|\$ ?\d[\d,]*(?:\.\d+)?|\b\d[\d,]*(?:\.\d+)? {UNIT}"
    rf"|(?:\b(?:one|two|three|five|six|ten|twenty|fifty|hundred|thousand)[ -])+{UNIT}"
    r"|\bnineteen \w+ty(?:[ -]\w+)?|\btwenty (?:ten|eleven|twelve|\w+teen|twenty)"
)


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Lines of a data set; none, and a note, where it is absent."""
    path = PII / name
    if not path.exists():
        print(f"{name}: not there, left out")
        return
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def covered(text: str, start: int, end: int, spans: Iterable[Span], *, letters: bool) -> bool:
    """Whether every digit (with `letters`: every letter too) of the labelled part is inside a span."""
    hidden = {at for span in spans for at in range(span.start, span.end)}
    wanted = [at for at in range(start, end) if text[at].isdigit() or (letters and text[at].isalpha())]
    return all(at in hidden for at in wanted)


def counts(text: str, label: dict[str, Any], kind: str) -> bool:
    """Whether a label is a fair one: it holds digits, and a fragment has a word beside it that names it."""
    value = text[label["start"] : label["end"]]
    if kind == "EMAIL":
        return len(value) > 4
    digits = sum(map(str.isdigit, value))
    if digits >= 7 or kind not in BESIDE:
        return digits > 0
    near = " ".join([*text[: label["start"]].split()[-4:], "|", *text[label["end"] :].split()[:4]])
    return digits > 2 and re.search(rf"\b(?:{BESIDE[kind]})", near) is not None


def labelled(name: str, kinds: set[str]) -> dict[str, float]:
    """Masked labels of each kind, in percent; prints these, and the spans that no label asked for."""
    masked, total, alarms, texts = Counter[str](), Counter[str](), Counter[str](), 0
    for row in rows(name):
        text, spans = row["text"], find(row["text"])
        texts += 1
        for label in row["spans"]:
            kind = SAME.get(label["type"], label["type"])
            if kind not in kinds or not counts(text, label, kind):
                continue
            total[kind] += 1
            hit = covered(text, label["start"], label["end"], spans, letters=kind in {"EMAIL", "IBAN"})
            masked[kind] += hit
            if SHOW and not hit:
                print("  MISS", kind, repr(text[label["start"] : label["end"]]), "|", text[:160].replace("\n", " "))
        for span in spans:
            if not any(label["start"] < span.end and span.start < label["end"] for label in row["spans"]):
                alarms[span.kind.value] += 1
                if SHOW:
                    print("  ALARM", span.kind, repr(text[span.start : span.end]), "|", text[:160].replace("\n", " "))
    shares = {kind: 100 * masked[kind] / total[kind] for kind in sorted(total)}
    for kind, share in shares.items():
        target = TARGETS.get(kind, "none")
        print(f"{name}: {kind:12} {masked[kind]:4} of {total[kind]:4} masked: {share:5.1f} %  (target {target})")
    if texts:
        print(f"{name}: spans without a label in {texts} texts: {dict(alarms)}")
    return shares


def spoken() -> tuple[float, float]:
    """Utterances where a run of six digits stays readable, and amounts and dates that do not, in percent."""
    holding = leaking = plain = lost = 0
    for row in rows("natcs-dev.jsonl"):
        text, spans = row["text"], find(row["text"])
        bare = PLAIN.sub("|", text)
        if RUN.search(bare):
            holding += 1
            left = RUN.search(PLAIN.sub("|", hide(text, Vault()).text.replace("[", "| ").replace("]", " |")))
            leaking += left is not None
            if SHOW and left:
                print("  LEAK", left[0], "|", text[:200])
        for match in PLAIN.finditer(text):
            plain += 1
            if any(match.start() < span.end and span.start < match.end() for span in spans):
                lost += 1
                if SHOW:
                    print("  LOST", match[0], "|", text[:200])
    if not holding:
        return 0.0, 0.0
    left_open, hidden = 100 * leaking / holding, 100 * lost / plain
    print(f"natcs-dev: {leaking} of {holding} utterances with a run leave one readable: {left_open:.1f} % (at most 3)")
    print(f"natcs-dev: {lost} of {plain} amounts, dates and years masked: {hidden:.1f} % (at most 2)")
    return left_open, hidden


def recordings() -> None:
    """Spans in consultations, where there is little to find."""
    alarms, said, words = Counter[str](), 0, 0
    for path in sorted((SHARED / "recordings" / "primock57").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                for transcript in json.loads(line)["eventBody"].get("transcripts", []):
                    text = transcript["alternatives"][0]["transcript"]
                    said, words = said + 1, words + len(text.split())
                    for span in find(text):
                        alarms[span.kind.value] += 1
                        if SHOW:
                            print("  FOUND", span.kind, repr(text[span.start : span.end]), "|", text[:160])
    print(f"recordings: {dict(alarms)} in {said} utterances, {words} words" if said else "recordings: not there")


def speed() -> None:
    """Microseconds for an utterance of 200 characters without personal data, the best of seven."""
    text = (
        "so what i wanted to ask is whether the one that i ordered for my sister could come to the shop before the "
        "weekend, or if nobody knows that yet, who would be able to tell me about it, because i won"
    )[:200]
    vault = Vault()
    best = min(timeit.repeat(lambda: hide(text, vault), number=5000, repeat=7)) / 5000 * 1e6
    print(f"speed: {best:.1f} us for {len(text)} characters without personal data (target under 25)")
    counted = "i paid 250 dollars on march 3rd and waited twenty five days, " + text[:136]
    best = min(timeit.repeat(lambda: hide(counted, vault), number=2000, repeat=5)) / 2000 * 1e6
    print(f"speed: {best:.1f} us for {len(counted)} characters with an amount, a date and a count")
    full = "my card is 4111 1111 1111 1111 and my phone number is four one five double five five one two one two"
    best = min(timeit.repeat(lambda: hide(full, vault), number=500, repeat=5)) / 500 * 1e6
    print(f"speed: {best:.1f} us for {len(full)} characters with a card and a spoken phone number")


if __name__ == "__main__":
    labelled("multidogo-dev.jsonl", {"SSN", "CARD", "EMAIL", "PHONE", "ACCOUNT", "POSTAL_CODE", "SECRET"})
    labelled("presidio-synth.jsonl", set(SAME.values()))
    spoken()
    recordings()
    speed()
