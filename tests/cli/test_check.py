"""`bridge check` says all that is wrong at once, where it stands and what would be right."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import bridge

MISTAKES = """
frobnicate = 1
[http]
port = "8080"
max_body = -1
body_timout = 10.0
[engine]
kind = "postgres"
partitions = 0
[webhooks.one]
scheme = "hmac"
[webhooks.two]
scheme = "standard"
secrets = ["plain-secret"]
[gateway]
url = "ftp://gateway"
fallback = "gpt"
model = ""
[models.small]
context = 10
output = 4096
[genesys]
domain = "https://mypurecloud.de"
client_id = "a"
client_secret = "env:NOT_SET"
follow = ["team:1"]
[cards]
unmask = ["FROB"]
[handlers]
enabled = ["nowhere:router", "alsonowhere:router"]
[panel]
frame_ancestors = ["https://a.example; script-src *"]
[logs]
level = "loud"
"""
WRONG = (
    "frobnicate", "http.port", "http.max_body", "http.body_timout", "engine.kind", "engine.partitions",
    "webhooks.one.scheme", "webhooks.one.secrets", "webhooks.two.secrets[0]", "gateway.url", "gateway.fallback",
    "gateway.model",
    "models.small.output", "genesys.domain", "genesys.client_secret", "genesys.follow", "cards.unmask",
    "panel.frame_ancestors", "logs.level",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no override, and the process's modules as they were."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def check(text: str, **environ: str) -> Result:
    Path("bridge.toml").write_text(text)
    return CliRunner().invoke(bridge, ["check"], env=environ)


def test_twenty_mistakes_of_every_kind_are_listed_at_once_with_file_and_path() -> None:
    answered = check(MISTAKES)
    told = answered.stderr.splitlines()
    assert answered.exit_code == 2
    assert {line.split(": ")[1] for line in told if line.startswith("bridge.toml: ")} == set(WRONG)
    assert len([line for line in told if line.startswith("handlers.enabled: ")]) == 2


def test_handlers_and_prompts_are_listed_beside_a_wrong_setting() -> None:
    Path("prompts").mkdir()
    Path("prompts/mine.toml").write_text('systm = "x"\n')
    answered = check(
        '[http]\nport = -1\n[handlers]\nenabled = ["nowhere:router", "alsonowhere:r"]\n[prompts]\npath = "prompts"\n'
    )
    told = answered.stderr
    assert answered.exit_code == 2
    for part in ("http.port", "'nowhere:router'", "'alsonowhere:r'", "prompts/mine.toml: systm is no setting"):
        assert part in told, part


def test_two_routers_with_a_handler_of_the_same_name_are_told() -> None:
    Path("twice.py").write_text(
        "from bridge import ConversationEnded, Router\n"
        "router, again = Router('a'), Router('a')\n"
        "for one in (router, again):\n"
        "    @one.on(ConversationEnded)\n"
        "    async def end(ended, ctx): ...\n"
    )
    answered = check('[handlers]\nenabled = ["twice:router", "twice:again"]\n')
    assert answered.exit_code == 2
    assert "two handlers are named" in answered.stderr


def test_a_wrong_override_is_told_by_the_name_of_its_variable() -> None:
    answered = check("", BRIDGE_HTTP_PORT="80800", BRIDGE_ENGINE_LEASE="soon")
    assert answered.stderr.splitlines() == [
        "BRIDGE_ENGINE_LEASE: engine.lease: must be a number, not text",
        "BRIDGE_HTTP_PORT: http.port: must be 0 (any free one) to 65535",
    ]


def test_a_secret_that_is_not_set_is_not_called_missing_too() -> None:
    answered = check('[genesys]\ndomain = "mypurecloud.de"\nclient_id = "a"\nclient_secret = "env:NOT_SET"\n')
    assert answered.stderr.splitlines() == [
        "bridge.toml: genesys.client_secret: the environment variable NOT_SET is not set"
    ]


def test_a_gateway_where_nobody_listens_is_wrong_and_the_rest_is_tried_all_the_same() -> None:
    answered = check('[gateway]\nurl = "http://127.0.0.1:9"\n')
    assert answered.exit_code == 1
    assert "wrong  gateway at http://127.0.0.1:9: cannot be reached" in answered.stdout
    assert "ok     engine at var/bridge.db" in answered.stdout
