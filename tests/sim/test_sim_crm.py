from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from attrs import define
from standardwebhooks import Webhook

from bridge.sim.crm import Fault, SimCrm, make_crm

SECRET = "whsec_" + base64.b64encode(b"a secret of the test, 24 B+").decode()
BODY = b'{"summary": "done"}'


@define
class Sender:
    """Someone who posts to the CRM, well or badly."""

    url: str
    session: aiohttp.ClientSession

    async def post(self, body: bytes = BODY, identity: str = "msg_1", age: float = 0, **other: str | None) -> int:
        moment = datetime.now(UTC) - timedelta(seconds=age)
        headers: dict[str, str | None] = {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(SECRET).sign(identity, moment, body.decode()),
            "idempotency-key": identity,
            **{name.replace("_", "-"): value for name, value in other.items()},
        }
        sent = {name: value for name, value in headers.items() if value is not None}
        async with self.session.post(self.url, data=body, headers=sent, allow_redirects=False) as answer:
            await answer.read()
            return answer.status


@pytest.fixture
def crm() -> SimCrm:
    return SimCrm(secrets=[SECRET])


@pytest.fixture
async def sender(crm: SimCrm) -> AsyncIterator[Sender]:
    async with TestServer(make_crm(crm)) as server, aiohttp.ClientSession() as session:
        yield Sender(str(server.make_url("/hooks")), session)


async def test_a_good_post_is_stored(crm: SimCrm, sender: Sender) -> None:
    assert await sender.post() == 200
    assert crm.accepted["msg_1"].payload == {"summary": "done"}


async def test_a_known_id_is_counted_and_not_stored_again(crm: SimCrm, sender: Sender) -> None:
    assert [await sender.post(), await sender.post(), await sender.post(identity="msg_2")] == [200, 200, 200]
    assert (len(crm.accepted), crm.repeats) == (2, 1)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"webhook_signature": "v1,AAAA"}, 401),
        ({"webhook_signature": "nonsense"}, 401),
        ({"webhook_signature": "v1,%%"}, 401),
        ({"webhook_signature": None}, 401),
        ({"webhook_id": "msg_2"}, 401),
        ({"webhook_id": None}, 401),
        ({"age": 301}, 401),
        ({"age": -301}, 401),
        ({"idempotency_key": None}, 400),
        ({"idempotency_key": "msg_2"}, 400),
        ({"content_type": "text/plain"}, 415),
        ({"body": b"{"}, 400),
    ],
)
async def test_a_bad_post_is_refused_and_not_stored(
    crm: SimCrm, sender: Sender, wrong: dict[str, str], status: int
) -> None:
    assert await sender.post(**wrong) == status  # type: ignore[arg-type]  # one table for all arguments
    assert not crm.accepted
    assert len(crm.refused) == 1


async def test_a_fault_meets_the_first_posts_only(crm: SimCrm, sender: Sender) -> None:
    crm.fault_first, crm.status = 2, 502
    assert [await sender.post() for _ in range(3)] == [502, 502, 200]
    assert (crm.posts, len(crm.accepted)) == (3, 1)


@pytest.mark.parametrize(("fault", "stored"), [("drop_before", 0), ("drop_after", 1), ("garbage", 0)])
async def test_a_hang_up_comes_before_or_after_storing(crm: SimCrm, sender: Sender, fault: Fault, stored: int) -> None:
    crm.fault, crm.fault_first = fault, 1
    with pytest.raises(aiohttp.ClientError):
        await sender.post()
    assert len(crm.accepted) == stored


async def test_what_was_accepted_can_be_seen_from_outside(sender: Sender) -> None:
    await sender.post()
    async with sender.session.get(sender.url.replace("/hooks", "/accepted")) as answer:
        assert await answer.json() == {"msg_1": {"summary": "done"}}
