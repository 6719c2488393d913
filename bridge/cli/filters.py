"""Filters to try a policy on lines of text: `bridge mask`."""

from __future__ import annotations

import sys
from typing import Any

import click
import orjson

from bridge.core.masking import Vault, find, hide


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help='Read {"text": …} lines; write masked text and spans as JSON lines.'
)
def mask(*, as_json: bool) -> None:
    """Mask personal data in the lines of stdin.

    Placeholders are the same throughout one run. One line out for each line in, at once, so that a program may talk
    to it line by line. With --json, spans are character offsets of the input; a line that is no {"text": "…"} gives
    {"error": …} in its place, and exit code 1 at the end.
    """
    vault, wrong = Vault(), 0
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not as_json:
            click.echo(hide(line.decode(errors="replace").rstrip("\r\n"), vault).text.encode())
            continue
        try:
            click.echo(orjson.dumps(_masked(_text_of(line), vault)))
        except ValueError as error:
            wrong += 1
            click.echo(orjson.dumps({"error": f"line {number}: {error}"}))
            click.echo(f"bridge mask: line {number}: {error}", err=True)
    if wrong:
        sys.exit(1)


def _text_of(line: bytes) -> str:
    """The text of a JSON line. Raises ValueError saying what would be right."""
    expected = 'expected one JSON object a line, {"text": "…"}'
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"no JSON ({error}); {expected}") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError(f'no string under "text"; {expected}')  # noqa: TRY004 - their value, not our types
    return str(row["text"])


def _masked(text: str, vault: Vault) -> dict[str, Any]:
    spans = [{"start": span.start, "end": span.end, "type": span.kind.value} for span in find(text)]
    return {"text": hide(text, vault).text, "spans": spans}
