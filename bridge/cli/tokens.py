"""A filter to see what a text costs: `bridge tokens`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import BinaryIO

import click
import orjson

from bridge.core.tokens import Count, StreamCounter, Vocabulary, vocabulary_of


@click.command()
@click.option("--model", default="gpt-4o", show_default=True, help="Whose vocabulary counts.")
@click.option("--total", is_flag=True, help="Count all of stdin as one text, line ends included.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, which also say how the count is known.")
def tokens(*, model: str, total: bool, as_json: bool) -> None:
    """Count the tokens of each line of stdin.

    One line out for each line in: the count, a tab, the line. A model whose vocabulary is not public is counted by an
    estimate that errs high, and "counted_by" says so.
    """
    vocabulary, stdin = vocabulary_of(model), sys.stdin.buffer
    if total:
        count = _total(stdin, vocabulary)
        click.echo(_row(count, vocabulary) if as_json else str(count.tokens))
        return
    for line in _lines(stdin):
        count = vocabulary.measure(line)
        click.echo(_row(count, vocabulary) if as_json else f"{count.tokens}\t{line}".encode())


def _lines(stdin: BinaryIO) -> Iterable[str]:
    """Each line without its end. Bytes that are no UTF-8 become U+FFFD."""
    return (line.decode(errors="replace").rstrip("\r\n") for line in stdin)


def _total(stdin: BinaryIO, vocabulary: Vocabulary) -> Count:
    counter = StreamCounter(vocabulary)
    for line in stdin:
        counter.feed(line.decode(errors="replace"))
    return Count(counter.tokens, vocabulary.counted_by)


def _row(count: Count, vocabulary: Vocabulary) -> bytes:
    return orjson.dumps({"tokens": count.tokens, "counted_by": count.counted_by, "vocabulary": vocabulary.name})
