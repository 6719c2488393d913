"""A load of signed webhooks, in a process of its own so that its work does not count as the door's.

`python -m tests.bench.door_load PORT SECONDS CONNECTIONS RUN`: prints JSON: acknowledged a second, latencies in ms.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import cast

import uvloop
from attrs import define, field

KEY = b"the key of a benchmark, 24+"
SECRET = "whsec_" + b64encode(KEY).decode()
WORDS = ("well", "the", "order", "never", "came", "and", "nobody", "called", "back", "about", "it")
MOST_A_SECOND = 16_000


def make_event(run: str, number: int) -> bytes:
    """A finished utterance as Genesys sends it, 2.1 KB, another one for each number; 40 a conversation."""
    words = [
        {"word": WORDS[place % len(WORDS)], "confidence": 0.93, "offsetMs": 90 * place, "durationMs": 80}
        for place in range(20)
    ]
    said = {"confidence": 0.93, "transcript": " ".join(word["word"] for word in words), "words": words}  # type: ignore[misc]  # all are text
    body = {
        "eventTime": "2026-03-02T09:15:00.400Z",
        "organizationId": "8a2b003d-1259-5de5-ae4b-0ee580f4b71b",
        "conversationId": f"{run}-{number // 40}",
        "communicationId": "cc0e5f1f-258c-5f31-b7f8-e6934ee37920",
        "sessionStartTimeMs": 1_772_442_900_000,
        "transcriptionStartTimeMs": 1_772_442_899_968,
        "transcripts": [
            {
                "utteranceId": f"{run}-{number}",
                "isFinal": True,
                "channel": "EXTERNAL",
                "alternatives": [{**said, "offsetMs": 1000, "durationMs": 1800}],
                "engineProvider": "GENESYS",
                "engineId": "r2d2",
                "dialect": "en-US",
            }
        ],
    }
    topic = f"v2.conversations.{body['conversationId']}.transcription"
    return json.dumps(
        {"topicName": topic, "version": "2", "eventBody": body, "metadata": {"CorrelationId": run}}
    ).encode()


def make_request(run: str, number: int) -> bytes:
    """One signed POST, whole."""
    body, identity, now = make_event(run, number), f"msg_{run}_{number}", int(time.time())
    mac = b64encode(hmac.digest(KEY, f"{identity}.{now}.".encode() + body, "sha256")).decode()
    head = (
        "POST /webhooks/bench HTTP/1.1\r\nhost: bridge\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nwebhook-id: {identity}\r\nwebhook-timestamp: {now}\r\n"
        f"webhook-signature: v1,{mac}\r\n\r\n"
    )
    return head.encode() + body


@define(eq=False)
class Connection(asyncio.Protocol):
    """Sends the next request as soon as the one before is answered, until `until`."""

    requests: Iterator[bytes]
    until: float
    latencies: list[float]
    done: asyncio.Future[None]
    _sent: float = 0.0
    _answer: bytes = b""
    _transport: asyncio.WriteTransport | None = field(default=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's do not inherit from it
        self._send()

    def _send(self) -> None:
        assert self._transport
        self._sent = time.perf_counter()
        if self._sent >= self.until:
            self._transport.close()
            self.done.set_result(None)
            return
        self._transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, ended, body = self._answer.partition(b"\r\n\r\n")
        if not ended or not body.endswith(b"}"):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.done.set_exception(RuntimeError(self._answer.decode(errors="replace")))
            return
        self._answer = b""
        self.latencies.append(time.perf_counter() - self._sent)
        self._send()


async def load(port: int, seconds: float, connections: int, run: str) -> dict[str, float]:
    """Keep the door busy."""
    requests = cycle([make_request(run, number) for number in range(int(seconds * MOST_A_SECOND))])
    loop, latencies = asyncio.get_running_loop(), list[float]()
    done = [loop.create_future() for _ in range(connections)]
    until = time.perf_counter() + seconds
    for one in done:
        await loop.create_connection(partial(Connection, requests, until, latencies, one), "127.0.0.1", port)
    await asyncio.gather(*done)
    latencies.sort()
    return {
        "count": len(latencies),
        "rate": len(latencies) / seconds,
        "p50": 1000 * latencies[len(latencies) // 2],
        "p99": 1000 * latencies[int(len(latencies) * 0.99)],
    }


if __name__ == "__main__":
    port, seconds, connections, run = sys.argv[1:]
    sys.stdout.write(json.dumps(uvloop.run(load(int(port), float(seconds), int(connections), run))))
