from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bridge.app import open_bridge
from bridge.core.masking import Vault, hide
from bridge.io.logs import LogJournal, set_up_logs
from bridge.settings import DestinationSettings, EngineSettings, GatewaySettings, Http, Secret, Settings, Source
from bridge.sim.crm import SimCrm, make_crm
from bridge.sim.gateway import SimGateway, make_gateway
from bridge.sim.serving import open_app

TALK = "9054f85d-70f4-531d-8b29-6051fff97da4"
WORDS = "please open sesame and call 415-555-0100 about it"
GATEWAY_KEY, WEBHOOK_TOKEN = "gateway-key-of-the-test", "webhook-token-of-the-test"
CRM_SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS1jcm0tdGVzdA=="


@pytest.fixture
def written() -> io.StringIO:
    """Everything that is logged at DEBUG."""
    stream = io.StringIO()
    set_up_logs("debug", stream)
    return stream


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_note_is_one_json_line_with_one_action_and_its_fields(written: io.StringIO) -> None:
    LogJournal().note("finished", event="u1", attempts=2, error=None)
    (record,) = records(written)
    assert record["action"] == "finished"
    assert (record["event"], record["attempts"], record["levelname"], record["name"]) == ("u1", 2, "INFO", "bridge")
    assert "error" not in record
    assert "timestamp" in record


def test_a_level_is_taken_and_text_is_masked_text(written: io.StringIO) -> None:
    LogJournal().note("dead", level="error", error=hide("call 415-555-0100\nnow", Vault()))
    (record,) = records(written)
    assert (record["levelname"], record["error"]) == ("ERROR", "call [PHONE_1]\nnow")


def test_a_field_named_like_one_of_loggings_own_gets_an_underscore(written: io.StringIO) -> None:
    LogJournal().note("delivered", name="note", message="x", module="y")
    (record,) = records(written)
    assert (record["name_"], record["message_"], record["module_"]) == ("note", "x", "y")


def test_what_is_quieter_than_the_level_is_not_written() -> None:
    stream = io.StringIO()
    set_up_logs("warning", stream)
    LogJournal().note("finished")
    LogJournal().note("fenced", level="warning")
    assert [record["action"] for record in records(stream)] == ["fenced"]


async def test_a_run_writes_no_secret_and_no_word_of_anybody(written: io.StringIO, tmp_path: Path) -> None:
    sim, crm = SimGateway(key=GATEWAY_KEY), SimCrm(secrets=[CRM_SECRET], fault_first=1, status=400)
    async with open_app(make_gateway(sim)) as gateway_url, open_app(make_crm(crm)) as crm_url:
        settings = _settings(tmp_path, gateway_url, crm_url)
        async with open_bridge(settings) as bridge, ClientSession() as session:
            url = f"http://127.0.0.1:{bridge.port}/webhooks/actions"
            for token, body in ((WEBHOOK_TOKEN, _said(WORDS)), ("wrong", _said(WORDS)), (WEBHOOK_TOKEN, b'{"sesame"')):
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                async with session.post(url, data=body, headers=headers) as response:
                    assert response.status in {202, 400, 401}
            async with asyncio.timeout(5):
                while not (await bridge.engine.counts()).callbacks_dead:  # noqa: ASYNC110 - the worker tells no event
                    await asyncio.sleep(0.001)
    out = written.getvalue()
    assert {"finished", "answered", "callback_dead"} <= {record["action"] for record in records(written)}
    for planted in ("sesame", "415", "555-0100", GATEWAY_KEY, WEBHOOK_TOKEN, "c2VjcmV0"):
        assert planted not in out


def _settings(folder: Path, gateway: str, crm: str) -> Settings:
    return Settings(
        http=Http(port=0),
        engine=EngineSettings(path=str(folder / "bridge.db"), partitions=4),
        webhooks=(Source(name="actions", scheme="token", secrets=(Secret(WEBHOOK_TOKEN),)),),
        gateway=GatewaySettings(url=gateway, key=Secret(GATEWAY_KEY)),
        destinations=(DestinationSettings(name="crm", url=crm, secrets=(Secret(CRM_SECRET),), allow=("127.0.0.0/8",)),),
    )


def _said(text: str) -> bytes:
    alternative = {"confidence": 0.9, "offsetMs": 10, "durationMs": 20, "transcript": text}
    transcript = {"utteranceId": "u1", "isFinal": True, "channel": "EXTERNAL", "alternatives": [alternative]}
    body = {
        "eventTime": "2026-03-02T09:15:13.829Z", "conversationId": TALK, "communicationId": "leg",
        "sessionStartTimeMs": 1_772_442_900_000, "transcripts": [transcript],
    }  # fmt: skip
    return json.dumps({"topicName": f"v2.conversations.{TALK}.transcription", "eventBody": body}).encode()
