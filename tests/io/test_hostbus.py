"""The host bus among real sockets and processes; what every bus does is in tests/contract/test_bus_contract.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.io.clock import MachineClock
from bridge.io.hostbus import HostBus, open_host_bus
from bridge.io.hostbus_folder import LONGEST, bound, prepare_folder
from bridge.io.hostbus_frames import Kind, read_datagram, write_frame, write_prefix
from bridge.io.hostbus_peer import BACKLOG
from bridge.sim.clock import FakeClock

CALL = "conversation-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bridge.db.bus"


@asynccontextmanager
async def pair(folder: Path, clock: FakeClock) -> AsyncIterator[tuple[HostBus, HostBus]]:
    async with open_host_bus(folder, clock=clock) as one, open_host_bus(folder, clock=clock) as other:
        await settle()
        yield one, other


async def settle(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def inside(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def make(folder: Path) -> None:
    folder.mkdir(mode=0o755)


def mode_of(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


async def take(messages: AsyncIterator[bytes], count: int = 1) -> list[bytes]:
    async with asyncio.timeout(5):
        return [await anext(messages) for _ in range(count)]


def waiting(bus: HostBus) -> int:
    return sum(peer._size for peer in bus._peers.values())


# --- the folder


async def test_the_folder_is_for_its_user_only_and_nothing_is_left_in_it(folder: Path) -> None:
    make(folder)
    async with open_host_bus(folder, clock=FakeClock()) as bus:
        assert mode_of(folder) == 0o700
        assert inside(folder) == [bus.name]
    assert inside(folder) == []


def test_a_folder_that_is_a_file_is_named_in_the_error(folder: Path) -> None:
    folder.write_text("")
    with pytest.raises(ConfigError, match=r"bridge\.db\.bus: cannot hold the sockets"):
        prepare_folder(folder)


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        prepare_folder(folder)


def test_a_path_too_long_for_a_socket_leads_to_one_other_folder_by_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep, link = tmp_path / ("d" * 100), tmp_path / "link"
    deep.mkdir()
    link.symlink_to(deep)
    one = prepare_folder(deep / "a.db.bus")
    assert one == prepare_folder(link / "a.db.bus") != prepare_folder(deep / "b.db.bus")
    assert one.parent == tmp_path
    assert list(deep.iterdir()) == []


def test_the_longest_path_that_stays_where_it_is_holds_a_socket() -> None:
    with TemporaryDirectory(prefix="bus") as short:
        folder = Path(short, "d" * (LONGEST - len(short) - 1))
        assert prepare_folder(folder) == folder
        with bound(folder) as (name, _):
            assert inside(folder) == [name]


# --- who is there


async def test_text_that_nobody_elsewhere_listens_to_is_not_sent(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other):
        async with other.subscribe(CALL):
            await settle()
            assert set(one._wanted) == {CALL}
        await settle()
        assert one._wanted == {}


async def test_the_socket_of_one_who_died_is_removed_and_hurts_nobody(folder: Path) -> None:
    clock = FakeClock()
    async with open_host_bus(folder, clock=clock) as bus:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(folder / "4711-0123abcd.sock"))
            await clock.advance(1)
            assert set(bus._peers) == {"4711-0123abcd.sock"}
            dead.sendto(write_prefix("4711-0123abcd.sock") + write_frame(Kind.WANT, 0.0, CALL), str(folder / bus.name))
            await settle()
        bus.publish(CALL, b"to the dead")
        assert (bus._wanted, bus._peers) == ({}, {})
        await clock.advance(1)
        assert inside(folder) == [bus.name]


async def test_what_is_no_socket_of_ours_is_left_alone(folder: Path) -> None:
    clock = FakeClock()
    async with open_host_bus(folder, clock=clock) as bus:
        make(folder / "notes")
        await clock.advance(3)
        assert bus._peers == {}
    assert inside(folder) == ["notes"]


async def test_who_no_longer_says_that_it_listens_is_forgotten_and_told_so(folder: Path) -> None:
    clock = FakeClock()
    async with open_host_bus(folder, clock=clock) as bus:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
            silent.bind(str(folder / "4711-0123abcd.sock"))
            silent.settimeout(1)
            silent.sendto(
                write_prefix("4711-0123abcd.sock") + write_frame(Kind.WANT, 0.0, CALL), str(folder / bus.name)
            )
            await settle()
            assert set(bus._wanted) == {CALL}
            for _ in range(7):
                await clock.advance(1)
            assert bus._wanted == {}
            heard = [frame.kind for _ in range(8) for frame in read_datagram(silent.recv(65_536))[1]]
            assert heard == [Kind.LOST]


async def test_a_lost_word_of_who_listens_is_said_again_within_a_second(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other), other.subscribe(CALL) as messages:
        await settle()
        one._forget(one._peers[other.name], CALL)
        one.publish(CALL, b"while it was lost", keep=True)
        await clock.advance(1)
        assert await take(messages) == [b"while it was lost"]


async def test_only_who_published_it_gives_a_kept_message_on(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other), open_host_bus(folder, clock=clock) as third:
        one.publish(CALL, b"card", keep=True)
        await clock.advance(0.001)
        async with other.subscribe(CALL) as messages:
            assert await take(messages) == [b"card"]
            async with third.subscribe(CALL) as others:
                assert await take(others) == [b"card"]
                await settle()
                one.publish(CALL, b"live")
                assert await take(others) == [b"live"]


async def test_a_kept_message_that_comes_after_its_listener_left_is_not_kept(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other):
        async with other.subscribe(CALL):
            await settle()
        one.publish(CALL, b"too late", keep=True)
        await settle()
        assert (other._borrowed, CALL in other._local.shelf) == (set(), False)


async def test_what_is_kept_too_long_is_gone_though_nobody_asks(folder: Path) -> None:
    clock = FakeClock()
    async with open_host_bus(folder, clock=clock) as bus:
        bus.publish(CALL, b"card", keep=True)
        await clock.advance(602)
        assert CALL not in bus._local.shelf


async def test_a_process_may_listen_to_ten_thousand_channels_and_no_more(folder: Path) -> None:
    async with pair(folder, FakeClock()) as (one, other):
        words = [write_frame(Kind.WANT, 0.0, f"{n}") for n in range(10_001)]
        one._peers[other.name].send_all(words)
        await settle(100)
        assert len(other._wanted) == 10_000


# --- who does not keep up


async def test_what_waits_goes_out_before_what_comes_later(folder: Path) -> None:
    async with pair(folder, FakeClock()) as (one, other), other.subscribe(CALL) as messages:
        await settle()
        sent = [b"%d" % n for n in range(500)]
        for message in sent:
            one.publish(CALL, message)
        assert waiting(one) > 0
        other.hear()
        one.publish(CALL, b"last")
        assert await take(messages, 501) == [*sent, b"last"]


async def test_who_reads_nothing_costs_bounded_memory_and_is_told_what_it_lost(folder: Path) -> None:
    clock, message = FakeClock(), b"x" * 10_000
    async with pair(folder, clock) as (one, other), other.subscribe(CALL) as messages:
        await settle()
        asyncio.get_running_loop().remove_reader(other.ears)
        for _ in range(1_000):
            one.publish(CALL, message, keep=True)
        assert 0 < waiting(one) <= BACKLOG
        assert one.lost > 0
        asyncio.get_running_loop().add_reader(other.ears, other.hear)
        async with asyncio.timeout(5):
            assert {message async for message in messages} <= {message}
        await settle()
        assert waiting(one) == 0


async def test_who_listens_anew_after_a_loss_is_given_what_is_kept(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other):
        async with other.subscribe(CALL) as messages:
            await settle()
            one._lose(one._peers[other.name], CALL)
            one.publish(CALL, b"missed", keep=True)
            async with asyncio.timeout(5):
                assert [message async for message in messages] == []
        await clock.advance(0.2)
        async with other.subscribe(CALL) as messages:
            assert await take(messages) == [b"missed"]


async def test_what_no_datagram_can_hold_stays_here_and_is_counted(folder: Path) -> None:
    clock = FakeClock()
    async with pair(folder, clock) as (one, other), other.subscribe(CALL) as far, one.subscribe(CALL) as near:
        await settle()
        one.publish(CALL, b"x" * 70_000)
        one.publish(CALL, b"small")
        assert await take(far) == [b"small"]
        assert [len(message) for message in await take(near, 2)] == [70_000, 5]
        assert one.lost == 1


async def test_more_channels_than_a_datagram_names_reach_one_who_comes_later(folder: Path) -> None:
    clock = FakeClock()
    async with open_host_bus(folder, clock=clock) as one, AsyncExitStack() as stack:
        for n in range(2_500):
            await stack.enter_async_context(one.subscribe(f"{n:064}"))
        async with open_host_bus(folder, clock=clock) as other:
            await settle()
            assert len(other._wanted) == 2_500


# --- bytes

frames = st.builds(write_frame, st.sampled_from(Kind), st.floats(), st.text(max_size=5), st.binary(max_size=20))
cut = st.builds(lambda all_of_it, at: all_of_it[:at], frames, st.integers(0, 40))
odd = st.one_of(st.binary(max_size=60), frames, cut)


@given(name=st.sampled_from(["4711-0123abcd.sock", "", "x" * 200, None]), parts=st.lists(odd, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_bytes_on_the_socket_raise(folder: Path, name: str | None, parts: list[bytes]) -> None:
    async with open_host_bus(folder, clock=FakeClock()) as bus, bus.subscribe("") as messages:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            (folder / "4711-0123abcd.sock").unlink(missing_ok=True)
            stranger.bind(str(folder / "4711-0123abcd.sock"))
            stranger.sendto((b"" if name is None else write_prefix(name)) + b"".join(parts), str(folder / bus.name))
            bus.hear()
            stranger.sendto(
                write_prefix("4711-0123abcd.sock") + write_frame(Kind.LOST, 0.0, ""), str(folder / bus.name)
            )
            bus.hear()
        async with asyncio.timeout(5):
            assert [message async for message in messages] == []


@given(st.lists(st.tuples(st.sampled_from(Kind), st.floats(allow_nan=False), st.text(), st.binary()), max_size=5))
def test_frames_are_read_as_they_were_written(told: list[tuple[Kind, float, str, bytes]]) -> None:
    sender, read = read_datagram(write_prefix("me") + b"".join(write_frame(*frame) for frame in told))
    assert (sender, [tuple(frame) for frame in read]) == ("me", told)


@given(st.lists(st.tuples(st.sampled_from(Kind), st.just(1.0), st.text(), st.binary()), max_size=5), st.integers(0, 60))
def test_of_a_datagram_cut_short_the_whole_frames_are_read(
    told: list[tuple[Kind, float, str, bytes]], cut: int
) -> None:
    datagram = write_prefix("me") + b"".join(write_frame(*frame) for frame in told)
    read = [tuple(frame) for frame in read_datagram(datagram[: len(datagram) - cut])[1]]
    assert read == told[: len(read)]


# --- processes


@asynccontextmanager
async def process(folder: Path, role: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    script = Path(__file__).with_name("hostbus_process.py")
    command = (sys.executable, str(script), str(folder), role, *arguments)
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def says(started: asyncio.subprocess.Process) -> str:
    assert started.stdout is not None
    async with asyncio.timeout(20):
        return (await started.stdout.readline()).decode().strip()


@pytest.mark.slow  # it starts two Python processes
async def test_messages_pass_between_processes_and_one_that_is_killed_leaves_no_trace(folder: Path) -> None:
    async with (
        open_host_bus(folder, clock=MachineClock()) as bus,
        process(folder, "count", CALL, "1000") as one,
        process(folder, "count", CALL, "2000") as other,
    ):
        assert [await says(one), await says(other)] == ["listening"] * 2
        for n in range(1_000):
            bus.publish(CALL, b"%d" % n)
            if n % 50 == 0:
                await asyncio.sleep(0.001)
        assert await says(one) == "1000"
        one.kill()
        await one.wait()
        for n in range(1_000):
            bus.publish(CALL, b"%d" % n)
            if n % 50 == 0:
                await asyncio.sleep(0.001)
        assert await says(other) == "2000"
        assert len(bus._peers) == 1
        bus.meet()
        assert len(inside(folder)) == 2
        assert bus.lost == 0


@pytest.mark.slow  # it starts a Python process and stops it for a while
async def test_a_process_that_is_stopped_delays_nobody_and_hears_again_when_it_goes_on(folder: Path) -> None:
    async with (
        open_host_bus(folder, clock=MachineClock()) as bus,
        process(folder, "count", CALL, "1000000") as listener,
    ):
        assert await says(listener) == "listening"
        await settle()
        listener.send_signal(signal.SIGSTOP)
        for _ in range(3_000):  # a publisher that waited would wait for ever
            bus.publish(CALL, b"x" * 1_000)
        assert bus.lost > 0
        assert waiting(bus) <= BACKLOG
        listener.send_signal(signal.SIGCONT)
        assert await says(listener) == "lost"
        async with asyncio.timeout(5):
            while CALL not in bus._wanted:  # noqa: ASYNC110 - the event is another process's
                await asyncio.sleep(0.01)


@pytest.mark.slow  # it starts a Python process
async def test_a_flood_from_another_process_lets_others_have_their_turn(folder: Path) -> None:
    async with (
        open_host_bus(folder, clock=MachineClock()) as bus,
        bus.subscribe(CALL) as messages,
        process(folder, "flood", CALL) as flooding,
    ):
        assert await says(flooding) == "flooding"
        await take(messages)
        longest = 0.0
        for _ in range(200):
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)
        assert longest < 1
