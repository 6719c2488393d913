from __future__ import annotations

import json

from click.testing import CliRunner

from bridge.cli.filters import mask


def test_masks_plain_lines_one_for_one_with_one_vault() -> None:
    result = CliRunner().invoke(
        mask, input="call 415 555 0100\n\nhello\nyes four one five five five five oh one oh oh\n"
    )
    assert result.exit_code == 0
    assert result.output == "call [PHONE_1]\n\nhello\nyes [PHONE_1]\n"


def test_gives_spans_as_character_offsets_of_the_input() -> None:
    text = "éé écrivez à jane@example.com"
    result = CliRunner().invoke(mask, ["--json"], input=json.dumps({"text": text}) + "\n")
    row = json.loads(result.output)
    assert row == {"text": "éé écrivez à [EMAIL_1]", "spans": [{"start": 13, "end": 29, "type": "EMAIL"}]}


def test_a_bad_json_line_keeps_its_place_says_what_is_right_and_fails_at_the_end() -> None:
    result = CliRunner().invoke(mask, ["--json"], input='{"text": "a"}\n{"txt": 1}\nnonsense\n{"text": "b"}\n')
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row.get("text") for row in rows] == ["a", None, None, "b"]
    assert "line 2" in rows[1]["error"]
    assert '{"text": "…"}' in rows[2]["error"]
    assert "line 3: no JSON" in result.stderr
    assert result.exit_code == 1


def test_a_bad_line_is_not_repeated_in_the_error() -> None:
    result = CliRunner().invoke(mask, ["--json"], input="4111 1111 1111 1111\n")
    assert "4111" not in result.output


def test_a_lone_surrogate_costs_its_line_only() -> None:
    result = CliRunner().invoke(mask, ["--json"], input='{"text": "\\ud800 ssn 3366"}\n{"text": "b"}\n')
    assert [json.loads(line).get("text") for line in result.stdout.splitlines()] == [None, "b"]


def test_bytes_that_are_no_utf_8_pass_as_replacement_signs() -> None:
    result = CliRunner().invoke(mask, input=b"caf\xe9 ssn 3366\n")
    assert result.output == "caf\ufffd ssn [SSN_1]\n"


def test_an_empty_input_gives_no_line() -> None:
    assert CliRunner().invoke(mask, input="").output == ""
