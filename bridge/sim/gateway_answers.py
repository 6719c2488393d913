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
_PLACEHOLDER = re.compile(r"\[[A-Z_]+_\d+\]")
_AMOUNT = re.compile(r"[$€£]\d[\d,.]*\d|(?<=number )\d+")
_THING = re.compile(r"\b(my|our|the|an?) ((?:[\w'-]+ ){0,2}[\w'-]+(?=[.,;:!?…]|$)|[\w'-]+)", re.IGNORECASE)
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
_DONE = re.compile(r"\b(I've|I have|is done|that's done|all set|will be)\b", re.IGNORECASE)
_MOODS = (
    (re.compile(r"\b(thanks?|bye|perfect|relief|that's everything)\b", re.IGNORECASE), "Gladly."),
    (
        re.compile(r"!|\b(wrong|again|waited|waiting|absolutely not)\b", re.IGNORECASE),
        "I'm sorry, I can hear what this costs you.",
    ),
    (re.compile(r"\?"), "Let me give you a clear answer to that."),
    (re.compile(""), "Thank you, that helps me."),
)
_OFFERS = (
    "I'll look into {} for you right now.",
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
    promised = _with(_PROMISE, agent)
    agreed = (_with(_WHEN, promised) or _with(_WHEN, agent))[-1:]
    ending = _with(_DONE, _second_half(agent))[-1:], _with(_CLOSING, _second_half(customer)) or customer[-1:]
    sections = (
        _best(_with(_NEED, customer)[:1] or customer, 1),
        _best([said for said in promised if said not in agreed], 3) or "None were named.",
        " ".join(filter(None, (_best(said, 1) for said in ending))),
        _best(agreed, 1) or "None agreed.",
    )
    return "\n".join(f"{heading} {text or 'Not said.'}" for heading, text in zip(HEADINGS, sections, strict=True))


def _with(pattern: re.Pattern[str], sentences: Sequence[str]) -> list[str]:
    return [said for said in sentences if pattern.search(said)]


def _second_half(sentences: Sequence[str]) -> Sequence[str]:
    return sentences[len(sentences) // 2 :]


def _best(sentences: Sequence[str], most: int) -> str:
    """The longest few, in the order they were said."""
    chosen = sorted(sentences, key=len, reverse=True)[:most]
    return " ".join(said for said in dict.fromkeys(sentences) if said in chosen)


def _reply(question: str) -> str:
    """Two sentences: one for the mood, one that names what the question is about."""
    opening = next(words for mood, words in _MOODS if mood.search(question))
    chance = zlib.crc32(question.encode("utf-8", "replace"))
    return f"{opening} {_OFFERS[chance % len(_OFFERS)].format(_topic(question))}"


def _topic(question: str) -> str:
    """The matter, as the agent would name it: a placeholder, an amount or number, else the longest thing named."""
    for named in (_PLACEHOLDER, _AMOUNT):
        if found := named.search(question):
            return found[0]
    things = [(whose.lower(), thing) for whose, thing in _THING.findall(question) if thing != "one"]
    if not things:
        return "this"
    whose, thing = max(things, key=lambda found: len(found[1]))
    return f"{'your' if whose in {'my', 'our'} else 'the'} {thing}"


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
