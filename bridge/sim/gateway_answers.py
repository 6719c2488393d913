"""The text that the gateway's simulator answers: extracted from the prompt, the same for the same prompt.

It reads what a prompt puts between <transcript> and <question> tags. Where there are none it says the prompt's first
sentences again. No model is hidden here, and it knows no facts but the prompt's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

HEADINGS = ("Reason:", "Actions:", "Outcome:", "Follow-up:")
_SENTENCE = re.compile(r"[^.!?…]+(?:\.(?=\w)[^.!?…]+)*[.!?…]*")
_WORD = re.compile(r"\[[A-Z_]+_\d+\]|[^\W_][\w'-]*")
_NEED = re.compile(
    r"\b(want|need|like to|can't|cannot|could you|can you|problem|wrong|broken|charged|missing|lost|cancel|change"
    r"|refund|help|ache|pain|sore|hurts?|trouble|because)\b",
    re.IGNORECASE,
)
_PROMISE = re.compile(r"\b(I'll|I will|let me|I'm going to|I've|I have|we'll|we will|I can see)\b", re.IGNORECASE)
_WHEN = re.compile(
    r"\b(today|tonight|tomorrow|monday|tuesday|wednesday|thursday|friday|saturday|sunday|week|weeks|days?|hours?|minutes"
    r"|by the|january|february|march|april|may \d|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"\b(thank|thanks|bye|great|perfect|lovely|fine|okay|good|appreciate|not happy)\b", re.IGNORECASE)
_COMMON = frozenset(
    """about after again also because been before being could does doing done don't from going have haven't hello here
    into it's just know like make more much need only other over please really said same should some still than thank
    thanks that that's their them then there they they're thing this those very want well were what what's when where
    which while will with would yeah you're your okay""".split()  # noqa: SIM905 - forty words are read, not parsed
)
_OPENINGS = (
    "I understand, and I'm glad you told me.",
    "Thank you for explaining that.",
    "I see what you mean.",
    "I'm sorry about the trouble.",
    "Of course, I can help with that.",
)
_OFFERS = (
    "Let me look into {} for you right now.",
    "I'll check {} and tell you exactly where things stand.",
    "Let's go through {} together, one step at a time.",
    "May I ask one more thing about {}, so that I get it right?",
)


def answer(system: str, user: str) -> str:
    """A note with the four headings where the prompt asks for them, else a reply to the question, else an extract."""
    if all(heading in system + user for heading in HEADINGS):
        return _note(list(_turns(_inside(user, "transcript"))))
    question = _inside(user, "question")
    return _reply(question) if question else _extract(user)


def _note(turns: Sequence[tuple[str, str]]) -> str:
    """Real sentences of the transcript under each heading."""
    customer = [said for speaker, said in turns if speaker == "customer"]
    agent = [said for speaker, said in turns if speaker != "customer"]
    promised = [said for said in agent if _PROMISE.search(said)]
    dated = [said for said in promised if _WHEN.search(said)] or [said for said in agent if _WHEN.search(said)]
    sections = (
        _best([said for said in customer if _NEED.search(said)][:1] or customer, 1),
        _best([said for said in promised if said not in dated[-1:]], 3) or "None were named.",
        _best([said for said in customer[len(customer) // 2 :] if _CLOSING.search(said)][-2:] or customer[-1:], 2),
        _best(dated[-1:], 1) or "None agreed.",
    )
    return "\n".join(f"{heading} {text or 'Not said.'}" for heading, text in zip(HEADINGS, sections, strict=True))


def _best(sentences: Sequence[str], most: int) -> str:
    """The longest few, in the order they were said."""
    chosen = sorted(sentences, key=len, reverse=True)[:most]
    return " ".join(said for said in dict.fromkeys(sentences) if said in chosen)


def _reply(question: str) -> str:
    """Two sentences that name what the question is about."""
    words = [word for word in _WORD.findall(question) if word[0] == "[" or _is_topic(word)]
    topics = sorted(dict.fromkeys(words), key=len, reverse=True)[:3]
    named = [word for word in dict.fromkeys(words) if word in topics]
    about = " and ".join(filter(None, (", ".join(named[:-1]), named[-1]))) if named else "this"
    chance = zlib.crc32(question.encode("utf-8", "replace"))
    return f"{_OPENINGS[chance % len(_OPENINGS)]} {_OFFERS[chance // 8 % len(_OFFERS)].format(about)}"


def _is_topic(word: str) -> bool:
    return len(word) >= 4 and word.lower() not in _COMMON


def _extract(text: str) -> str:
    return " ".join(list(_sentences(text))[:3]) or "There was nothing to answer."


def _turns(transcript: str) -> Iterator[tuple[str, str]]:
    """(speaker, sentence) for each sentence of three words or more."""
    for line in transcript.splitlines():
        speaker, colon, said = line.partition(":")
        if colon:
            yield from ((speaker.strip().lower(), one) for one in _sentences(said) if one.count(" ") >= 2)


def _sentences(text: str) -> Iterator[str]:
    for found in _SENTENCE.findall(" ".join(text.split())):
        if sentence := found.strip():
            yield sentence


def _inside(text: str, tag: str) -> str:
    _, opened, rest = text.partition(f"<{tag}>")
    inside, closed, _ = rest.partition(f"</{tag}>")
    return inside.strip() if opened and closed else ""
