from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.address import NEVER, Address, parse_networks, refusal, url_problem
from bridge.errors import ConfigError

EVERYTHING = parse_networks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "99.255.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_public_addresses_may_be_dialled(address: str) -> None:
    assert refusal(address) is None


PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "127.0.0.1",
    "127.255.255.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "198.18.0.1",
    "198.19.255.255",
    "192.88.99.1",
    "240.0.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
    "5f00::1",
    "100::1",
    "fec0::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_special_addresses_only_by_the_allow_list(address: str) -> None:
    assert refusal(address)
    assert refusal(address, parse_networks([address])) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.0.1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "ff02::1",
    ],
)
def test_metadata_link_local_and_multicast_are_refused_whatever_is_allowed(address: str) -> None:
    assert refusal(address, EVERYTHING)


def carriers(inner: IPv4Address) -> list[IPv6Address]:
    """The ways an IPv6 address can lead to an IPv4 one."""
    number = int(inner)
    mapped, compatible, nat64 = IPv6Address(0xFFFF << 32 | number), IPv6Address(number), ip_address("64:ff9b::")
    isatap = ip_address("2606:4700::5efe:0:0"), ip_address("2606:4700::200:5efe:0:0")
    six_to_four, teredo = ip_address("2002::"), ip_address("2001:0:808:808::")
    return [
        mapped,
        compatible,
        IPv6Address(int(nat64) | number),
        *(IPv6Address(int(network) | number) for network in isatap),
        IPv6Address(int(six_to_four) | number << 80),
        IPv6Address(int(teredo) | number ^ 0xFFFF_FFFF),
    ]


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1"])
def test_no_wrapping_hides_a_private_address(inner: str) -> None:
    for outer in carriers(IPv4Address(inner)):
        assert refusal(str(outer)), outer


def test_no_wrapping_hides_the_metadata_service_even_when_all_is_allowed() -> None:
    for outer in carriers(IPv4Address("169.254.169.254")):
        assert refusal(str(outer), EVERYTHING), outer


def test_a_mapped_address_is_judged_by_what_it_carries() -> None:
    assert refusal("::ffff:8.8.8.8") is None
    assert refusal("64:ff9b::8.8.8.8") is None
    assert refusal("::ffff:10.1.2.3", parse_networks(["10.0.0.0/8"])) is None


@pytest.mark.parametrize("carrier", ["64:ff9b::", "64:ff9b:1::", "::ffff:0:"])
def test_no_allow_list_lets_a_translator_dial_the_metadata_service(carrier: str) -> None:
    everywhere = parse_networks(["::/0", "0.0.0.0/0"])
    assert "metadata service" in (refusal(f"{carrier}169.254.169.254", everywhere) or "")
    assert refusal(f"{carrier}10.1.2.3", everywhere) is None


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_open(address: Address) -> None:
    # NAT64 is the one carrier that Python's own list calls by itself and that we judge by its content.
    if not address.is_global and address not in parse_networks(["64:ff9b::/96", "::ffff:0:0/96"])[0]:
        carried = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        assert refusal(str(address)) or (carried and carried.is_global)


@given(st.sampled_from([network for network, _ in NEVER]).flatmap(lambda network: st.ip_addresses(network=network)))
def test_never_means_never(address: Address) -> None:
    assert refusal(str(address), EVERYTHING)


def test_plain_http_reaches_only_what_is_listed() -> None:
    assert refusal("8.8.8.8", public=False)
    assert refusal("127.0.0.1", parse_networks(["127.0.0.0/8"]), public=False) is None


@pytest.mark.parametrize("text", ["", "localhost", "300.1.1.1", "/tmp/socket"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert refusal(text, EVERYTHING)


@given(st.text())
def test_no_text_makes_the_rule_raise(text: str) -> None:
    assert refusal(text, EVERYTHING) is None or refusal(text)


def test_all_wrong_networks_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_networks(["10.0.0.1/8", "10.0.0.0/8", "lan"])
    assert len(caught.value.problems) == 2
    assert "10.0.0.1/8" in caught.value.problems[0]
    assert "lan" in caught.value.problems[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example.com/hooks?x=1",
        "http://10.0.0.5:8092/",
        "https://[2606:4700::1]:8443/a",
        "https://bücher.example",
    ],
)
def test_good_urls_have_no_problem(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://crm.example.com/", "https"),
        ("file:///etc/passwd", "https"),
        ("crm.example.com/hooks", "https"),
        ("https://anna:s3cret@crm.example.com/", "headers"),
        ("https:///hooks", "host"),
        ("https://crm.example.com:0/", "port"),
        ("https://crm.example.com:99999/", "port"),
        ("https://a..b/", "host"),
        ("https://" + "a" * 64 + ".com/", "host"),
        ("https://[::1/", "host"),
        ("https://2130706433/", "four numbers"),
        ("https://0x7f.1/", "four numbers"),
        ("https://127.1/", "four numbers"),
        ("", "https"),
    ],
)
def test_wrong_urls_are_told_what_is_wrong_and_not_repeated(url: str, part: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert part in problem
    assert "s3cret" not in problem
