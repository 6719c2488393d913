from __future__ import annotations

import json

from click.testing import CliRunner

from bridge.cli.tokens import tokens

TEXT = "Hello there\r\n\nmy card is 4111\n"


def run(*args: str, stdin: str | bytes = TEXT) -> str:
    result = CliRunner().invoke(tokens, args, input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_line_gets_its_count() -> None:
    assert run() == "2\tHello there\n0\t\n6\tmy card is 4111\n"


def test_json_says_how_the_count_is_known() -> None:
    rows = [json.loads(line) for line in run("--json", "--model", "gpt-4").splitlines()]
    assert rows[0] == {"tokens": 2, "counted_by": "tokenizer", "vocabulary": "cl100k"}
    assert len(rows) == 3


def test_model_without_a_public_vocabulary_is_estimated() -> None:
    row = json.loads(run("--json", "--model", "claude-sonnet-4-5", "--total"))
    assert row == {"tokens": 15, "counted_by": "estimate", "vocabulary": "estimate"}


def test_total_counts_line_ends_and_words_over_them() -> None:
    assert run("--total", stdin="a\n\nb") == "3\n"
    assert run("--total", stdin="") == "0\n"


def test_bytes_that_are_no_text_are_counted_too() -> None:
    assert run(stdin=b"\xff\0\n") == "2\t\ufffd\0\n"
