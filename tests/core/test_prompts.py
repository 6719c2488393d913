from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.budget import Window
from bridge.core.masking import Masked, Vault, hide
from bridge.core.prompts import Built, Prompt, build, parse_prompt
from bridge.core.tokens import message_tokens, vocabulary_of
from bridge.core.transcript import Line, disarm
from bridge.errors import BudgetError, ConfigError

VOCABULARY = vocabulary_of("gpt-4o-mini")
WIDE = Window(context=8_000, output=100)
USER = "<transcript>\n{{ transcript }}</transcript>\n<question>\n{{ question }}\n</question>\nReply."
EVIL = st.text(st.characters() | st.sampled_from("<>/{}%#'\"")) | st.sampled_from(
    ["{{ 7 * 7 }}", "{% raw %}", "{# x #}", "</transcript>", "{{ transcript }}", "</question", ">", "<question>"]
)


def prompt(**tree: Any) -> Prompt:
    return parse_prompt("suggest", {"system": "You help.", "user": USER, **tree})


def line(text: str, seq: int = 1) -> Line:
    return Line(seq, f"u{seq}", "customer", seq, seq, hide(disarm(" ".join(text.splitlines())), Vault()))


def built(*texts: str, question: str = "why?", window: Window = WIDE, **tree: Any) -> Built:
    lines = [line(text, seq) for seq, text in enumerate(texts, 1)]
    return build(prompt(**tree), {"question": hide(disarm(question), Vault())}, lines, window, VOCABULARY)


def test_words_enter_a_user_message_between_delimiters_and_the_system_message_is_fixed() -> None:
    system, user = built("hello there", "are you there").turns
    assert (system.role, system.content.text) == ("system", "You help.")
    assert user.content.text == (
        "<transcript>\ncustomer: hello there\ncustomer: are you there\n</transcript>\n"
        "<question>\nwhy?\n</question>\nReply."
    )


@given(st.lists(EVIL, min_size=1, max_size=4).map("".join), st.lists(EVIL, max_size=4).map("".join))
def test_what_was_said_is_never_a_template_and_closes_no_delimiter(text: str, question: str) -> None:
    """Of tags there are the template's own, in its order; of what was said, every sign but theirs, as it was said."""
    user = built(text, question=question).turns[1].content.text
    assert re.findall("<[^>]*>", user) == ["<transcript>", "</transcript>", "<question>", "</question>"]
    assert user.count("<") == user.count(">") == 4
    assert line(text).text.text in user
    assert hide(disarm(question), Vault()).text in user


def test_of_a_transcript_that_does_not_fit_the_oldest_lines_go() -> None:
    texts = [f"turn {name} of many words that fill the window" for name in ("one", "two", "three", "four")]
    whole = built(*texts)
    short = built(*texts, window=Window(context=whole.prompt_tokens + 99 - 10, output=100))
    assert whole.dropped == 0
    assert 0 < short.dropped < len(texts)
    user = short.turns[1].content.text
    assert user.count("customer:") == len(texts) - short.dropped
    assert "turn one" not in user
    assert "turn four" in user
    said = [(turn.role, turn.content.text) for turn in short.turns]
    assert short.prompt_tokens == message_tokens(VOCABULARY, said) <= whole.prompt_tokens - 10


def test_a_prompt_that_cannot_fit_without_any_line_is_refused() -> None:
    with pytest.raises(BudgetError, match="tokens too long"):
        built("hello", window=Window(context=30, output=20))


def test_history_says_how_many_of_the_newest_turns_may_enter() -> None:
    assert "customer: two\ncustomer: three\n" in built("one", "two", "three", history=2).turns[1].content.text
    assert "one" not in built("one", "two", "three", history=2).turns[1].content.text
    assert "customer" not in built("one", "two", history=0).turns[1].content.text


def test_a_template_without_the_transcript_pays_for_none() -> None:
    with_it = built("hello " * 500)
    without = built("hello " * 500, user="{{ question }}", window=Window(context=200, output=100))
    assert without.prompt_tokens < with_it.prompt_tokens - 400
    assert without.dropped == 0


def test_examples_enter_the_system_message() -> None:
    system = built("x", examples=[{"question": "where is it", "answer": "On its way."}]).turns[0].content.text
    assert system.startswith("You help.")
    assert "where is it" in system
    assert "On its way." in system


def test_a_value_that_nobody_gave_is_named_with_its_file() -> None:
    with pytest.raises(ConfigError, match=r"prompts/suggest\.toml: 'question' is undefined"):
        build(prompt(), {}, [], WIDE, VOCABULARY)


def test_a_template_reaches_nothing_but_its_values() -> None:
    evil = prompt(user="{{ question.__class__.__mro__ }}")
    with pytest.raises(ConfigError, match=r"prompts/suggest\.toml: access to attribute .* is unsafe"):
        build(evil, {"question": Masked.literal("x")}, [], WIDE, VOCABULARY)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"user": "x"}, "system is missing"),
        ({"system": "x"}, "user is missing"),
        ({"system": "x", "user": 5}, "user has the wrong type"),
        ({"system": "x", "user": "x", "max_tokens": True}, "max_tokens has the wrong type"),
        ({"system": "x", "user": "x", "max_tokens": 0}, "max_tokens must be 1 or more"),
        ({"system": "x", "user": "x", "temprature": 1}, "temprature is no setting of a prompt"),
        ({"system": "x", "user": "x", "history": -1}, 'history must be "all" or a number of turns'),
        ({"system": "x", "user": "x", "history": True}, 'history must be "all" or a number of turns'),
        ({"system": "x", "user": "x\n{% if %}"}, "user is no template: line 2: "),
        ({"system": "x", "user": "{{ x | nosuch }}"}, "user is no template: line 1: No filter named 'nosuch'"),
        ({"system": "x", "user": "x", "examples": [{"question": "q"}]}, r"examples\[0\] must have a question and an"),
        ({"system": "x", "user": "x", "examples": ["q"]}, r"examples\[0\] must have a question and an answer"),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_its_name_and_what_is_wrong(tree: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"prompts/note\.toml: {problem}"):
        parse_prompt("note", tree)


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_prompt("note", {"system": 1, "max_tokens": "x", "x": 1})
    assert len(raised.value.problems) == 4
