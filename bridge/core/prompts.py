"""From a prompt file and a conversation to messages that fit the model's window.

What people said enters only as values of a template, inside a user message and between delimiters. A value is never
read as a template, and it cannot close the delimiters (`transcript.disarm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridge.core.budget import Window, fit
from bridge.core.masking import Masked
from bridge.core.tokens import Vocabulary, message_tokens
from bridge.core.transcript import Line
from bridge.errors import ConfigError

TRANSCRIPT = "transcript"
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)


@frozen
class Prompt:
    """A prompt file. `history`: how many of the newest turns may enter, None for all."""

    name: str
    system: str
    user: Template
    needs: frozenset[str]
    max_tokens: int
    temperature: float
    history: int | None


@frozen
class Turn:
    """A message on its way into the window."""

    role: Literal["system", "user", "assistant"]
    content: Masked


@frozen
class Built:
    """What will be sent, what it costs, and how many of the oldest turns did not fit."""

    turns: tuple[Turn, ...]
    prompt_tokens: int
    dropped: int


def parse_prompt(name: str, tree: Mapping[str, Any]) -> Prompt:
    """Check a prompt file's content. Raises ConfigError that lists what is wrong."""
    problems = [f"prompts/{name}.toml: {problem}" for problem in _problems(tree)]
    if problems:
        raise ConfigError(problems)
    history = tree.get("history", "all")
    return Prompt(
        name=name,
        system=_with_examples(tree["system"], tree.get("examples", [])),
        user=_JINJA.from_string(tree["user"]),
        needs=frozenset(meta.find_undeclared_variables(_JINJA.parse(tree["user"]))),
        max_tokens=tree.get("max_tokens", 256),
        temperature=float(tree.get("temperature", 0.2)),
        history=None if history == "all" else history,
    )


def build(
    prompt: Prompt, values: Mapping[str, Masked], lines: Sequence[Line], window: Window, vocabulary: Vocabulary
) -> Built:
    """Fill the prompt and fit it: the oldest lines of the transcript go first, the rest never does.

    Raises ConfigError for a missing value, BudgetError when it cannot fit even without any line.
    """
    lines = lines if prompt.history is None else lines[max(0, len(lines) - prompt.history) :]
    system = Turn("system", Masked.operator(prompt.system))
    bare = Turn("user", _fill(prompt, values, ()))
    spoken = [Turn("user", _say(line)) for line in lines] if TRANSCRIPT in prompt.needs else []
    fitted = fit([system, *spoken, bare], window, vocabulary)
    kept = lines[fitted.dropped :] if spoken else ()
    turns = (system, Turn("user", _fill(prompt, values, kept)))
    tokens = message_tokens(vocabulary, [(turn.role, turn.content.text) for turn in turns])
    return Built(turns, tokens, fitted.dropped)


def _say(line: Line) -> Masked:
    return Masked.fill(lambda values: f"{line.speaker}: {values['text']}\n", {"text": line.text})


def _fill(prompt: Prompt, values: Mapping[str, Masked], lines: Sequence[Line]) -> Masked:
    said = Masked.join("", [_say(line) for line in lines])
    try:
        return Masked.fill(prompt.user.render, {**values, TRANSCRIPT: said})
    except TemplateError as error:
        hint = "; the handler must give it to ask()" if isinstance(error, UndefinedError) else ""
        raise ConfigError([f"prompts/{prompt.name}.toml: {error.message}{hint}"]) from None


def _problems(tree: Mapping[str, Any]) -> list[str]:
    known = {"system": (str,), "user": (str,), "max_tokens": (int,), "temperature": (int, float), "examples": (list,)}
    found = [f"{key} is missing" for key in ("system", "user") if key not in tree]
    found += [
        f"{key} has the wrong type" for key, kinds in known.items() if key in tree and type(tree[key]) not in kinds
    ]
    found += [f"{key} is no setting of a prompt" for key in tree if key not in {*known, "history"}]
    if found:
        return found
    history = tree.get("history", "all")
    if history != "all" and (type(history) is not int or history < 0):
        found.append('history must be "all" or a number of turns')
    if tree.get("max_tokens", 1) < 1:
        found.append("max_tokens must be 1 or more")
    found += [
        f"examples[{at}] must have a question and an answer, both text"
        for at, one in enumerate(tree.get("examples", []))
        if not (isinstance(one, dict) and all(type(one.get(name)) is str for name in ("question", "answer")))
    ]
    try:
        _JINJA.from_string(tree["user"])
    except TemplateSyntaxError as error:
        found.append(f"user is no template: line {error.lineno}: {error.message}")
    return found


def _with_examples(system: str, examples: Sequence[Mapping[str, str]]) -> str:
    if not examples:
        return system
    shown = "\n\n".join(f"Question: {one['question']}\nAnswer: {one['answer']}" for one in examples)
    return f"{system}\n\nReference Examples\n\n{shown}"
