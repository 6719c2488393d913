"""`bridge ask`: one question to the gateway, from stdin to stdout."""

from __future__ import annotations

import random
import re
import sys
import uuid

import click
import orjson
from attrs import asdict, define, evolve, field

from bridge.cli.running import DONE, FAILED, run, settings_or_exit
from bridge.core.masking import Kind, Reveal, Vault, hide
from bridge.core.tokens import vocabulary_of
from bridge.errors import GatewayError
from bridge.io.clock import MachineClock
from bridge.io.gateway import open_gateway
from bridge.io.logs import set_up_logs
from bridge.ports import Answer, AnswerStream, Inference, Message, Usage
from bridge.settings import GatewaySettings, Model, Settings

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters and changes of direction: all but tab and line end."""


@click.command()
@click.option("--model", help="The model to ask; else the one of [gateway].")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of the answer.")
@click.option("--system", default="", help="What the model is told before the question.")
@click.option("--json", "as_json", is_flag=True, help="A last line with outcome, usage and times, for programs.")
def ask(model: str | None, max_tokens: int | None, system: str, *, as_json: bool) -> None:
    """Ask the gateway what stands on stdin, and write its answer as it comes.

    Personal data leaves masked, and is put back into the answer. Exit code 0: the answer is whole, or was cut at
    --max-tokens; 1: it is neither.
    """
    set_up_logs("error")
    question, settings = _question(), settings_or_exit("gateway", "models")
    answer = run(_Asked.of(settings, model, max_tokens, system, question).stream(settings.gateway))
    if answer.error:
        click.echo(f"bridge: {answer.outcome}: {answer.error}", err=True)
    if as_json:
        _write(orjson.dumps(asdict(answer)).decode() + "\n")
    raise SystemExit(DONE if answer.outcome in {"complete", "cut"} else FAILED)


def _question() -> str:
    """The prompt. Bytes that are no UTF-8, or nothing, are a mistake in the call."""
    try:
        question = sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"stdin is not UTF-8 (byte {error.start})") from None
    if not question:
        raise click.UsageError("stdin is empty: write the question there, as in: echo 'What is a token?' | bridge ask")
    return question


@define
class _Asked:
    """A question, and what its answer is unmasked by: the one who typed it may see what they typed."""

    inference: Inference
    vault: Vault
    _written: list[str] = field(init=False, factory=list, repr=False)

    @classmethod
    def of(cls, settings: Settings, name: str | None, max_tokens: int | None, system: str, question: str) -> _Asked:
        name = name or settings.gateway.model
        model = next((one for one in settings.models if one.name == name), Model(name=name))
        vault = Vault()
        told = (Message("system", hide(system, vault)),) if system else ()
        messages = (*told, Message("user", hide(question, vault)))
        limit = max_tokens or model.output
        return cls(Inference(str(uuid.uuid4()), name, messages, limit, fallback=model.fallback), vault)

    async def stream(self, gateway_settings: GatewaySettings) -> Answer:
        """Write the answer as it comes; how it ended."""
        clock = MachineClock()
        began = clock.monotonic()
        async with open_gateway(gateway_settings, clock=clock, random=random.random) as gateway:
            try:
                async with gateway.open_answer(self.inference) as answering:
                    await self._show(answering)
            except GatewayError as error:
                return _failed(self.inference.model, error, (clock.monotonic() - began) * 1000)
        assert answering.answer is not None, "its block was left"
        return evolve(answering.answer, text="".join(self._written))

    async def _show(self, pieces: AnswerStream) -> None:
        reveal = Reveal(self.vault, frozenset(Kind))
        try:
            async for piece in pieces:
                self._keep(reveal.feed(piece).text)
        finally:
            self._keep(reveal.close().text)
            _write("\n" if self._written else "")

    def _keep(self, text: str) -> None:
        if text:
            self._written.append(text)
            _write(text)


def _failed(model: str, error: GatewayError, total_ms: float) -> Answer:
    return Answer("", "failed", model, Usage(), vocabulary_of(model).counted_by, None, total_ms, str(error))


def _write(text: str) -> None:
    """To stdout, in UTF-8 wherever it goes, at once. A terminal would obey a model's escapes, so it gets none."""
    shown = _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text) if sys.stdout.isatty() else text
    sys.stdout.buffer.write(shown.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
