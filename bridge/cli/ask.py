"""`bridge ask`: one question to the gateway, from stdin to stdout."""

from __future__ import annotations

import random
import uuid
from typing import TextIO

import click
import orjson
from attrs import asdict, define, evolve, field

from bridge.cli.running import DONE, FAILED, run, settings_or_exit
from bridge.core.masking import Kind, Reveal, Vault, hide
from bridge.core.tokens import vocabulary_of
from bridge.errors import BridgeError
from bridge.io.clock import MachineClock
from bridge.io.gateway import open_gateway
from bridge.ports import Answer, Inference, Message, Usage
from bridge.settings import Model, Settings


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
    question = _question()
    out = click.get_text_stream("stdout", encoding="utf-8", errors="replace")
    settings = settings_or_exit()
    asked = _Asked.of(settings, model, max_tokens, system, question)
    answer = run(asked.stream(settings, out))
    if answer.error:
        click.echo(f"bridge: {answer.outcome}: {answer.error}", err=True)
    if as_json:
        out.write(orjson.dumps(asdict(answer)).decode() + "\n")
    raise SystemExit(DONE if answer.outcome in {"complete", "cut"} else FAILED)


def _question() -> str:
    """The prompt. Bytes that are no UTF-8, or nothing, are a mistake in the call."""
    try:
        question = click.get_binary_stream("stdin").read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"stdin is not UTF-8 (byte {error.start})") from None
    if not question:
        raise click.UsageError("stdin is empty: write the question there, as in: echo 'What is a token?' | bridge ask")
    return question


@define
class _Asked:
    """A question with what its answer is to be unmasked by."""

    inference: Inference
    vault: Vault = field(repr=False)
    _written: list[str] = field(init=False, factory=list, repr=False)

    @classmethod
    def of(cls, settings: Settings, name: str | None, max_tokens: int | None, system: str, question: str) -> _Asked:
        model = next((one for one in settings.models if one.name == name), Model(name=name or settings.gateway.model))
        vault = Vault()
        given = (Message("system", hide(system, vault)),) if system else ()
        messages = (*given, Message("user", hide(question, vault)))
        limit = min(max_tokens or model.output, model.output)
        return cls(Inference(str(uuid.uuid4()), model.name, messages, limit, fallback=model.fallback), vault)

    async def stream(self, settings: Settings, out: TextIO) -> Answer:
        """The answer, written as it comes. The one who typed the question may see what they typed."""
        reveal, clock = Reveal(self.vault, frozenset(Kind)), MachineClock()
        began = clock.monotonic()
        try:
            async with (
                open_gateway(settings.gateway, clock=clock, random=random.random) as gateway,
                gateway.open_answer(self.inference) as stream,
            ):
                async for piece in stream:
                    self._write(reveal.feed(piece).text, out)
        except BridgeError as error:
            return evolve(_failed(self.inference.model, str(error)), total_ms=(clock.monotonic() - began) * 1000)
        finally:
            self._write(reveal.close().text, out)
            self._write("\n" if self._written else "", out)
        assert stream.answer is not None, "the block was left"
        return evolve(stream.answer, text="".join(self._written[:-1]))

    def _write(self, text: str, out: TextIO) -> None:
        if text:
            self._written.append(text)
            out.write(text)
            out.flush()


def _failed(model: str, error: str) -> Answer:
    counted_by = vocabulary_of(model).counted_by
    return Answer("", "failed", model, Usage(), counted_by, None, 0.0, error)
