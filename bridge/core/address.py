"""Which addresses may be dialled for a URL that the settings name: the rule of the egress guard. Pure.

`ipaddress.is_global` is not enough: it calls the metadata services of some clouds public, does not look into addresses
that carry another one (NAT64, ISATAP), and changes with the Python release. The blocks are those of the IANA registries
of special-purpose addresses; the metadata services are those of the clouds' own manuals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from bridge.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORBIDDEN = 9_001
"""The `errno` of a refused dial. No system's own number: the kernel's EACCES may pass, a refusal does not."""


def _table(rows: str) -> tuple[tuple[Network, str], ...]:
    lines = (line.split(maxsplit=1) for line in rows.strip().splitlines())
    return tuple((ip_network(network), name) for network, name in lines)


NEVER = _table("""
    169.254.0.0/16      link-local, where clouds keep their metadata service
    fe80::/10           link-local
    fd00:ec2::/32       metadata service (AWS)
    fd20:ce::254/128    metadata service (Google Cloud)
    fd00:42::42/128     metadata service (Scaleway)
    100.100.100.200/32  metadata service (Alibaba Cloud)
    192.0.0.192/32      metadata service (Oracle Cloud)
    168.63.129.16/32    metadata service (Azure)
    0.0.0.0/8           this host, unspecified
    ::/128              unspecified
    224.0.0.0/4         multicast
    ff00::/8            multicast
    255.255.255.255/32  broadcast
""")
"""Refused even when an allow-list names them."""

UNLESS_ALLOWED = _table("""
    10.0.0.0/8          private
    172.16.0.0/12       private
    192.168.0.0/16      private
    127.0.0.0/8         loopback
    100.64.0.0/10       shared by a carrier's customers
    192.0.0.0/24        protocol assignments
    192.0.2.0/24        documentation
    198.51.100.0/24     documentation
    203.0.113.0/24      documentation
    192.31.196.0/24     AS112 sink
    192.175.48.0/24     AS112 sink
    192.52.193.0/24     multicast relay
    192.88.99.0/24      6to4 relay
    198.18.0.0/15       benchmarking
    240.0.0.0/4         reserved
    2001::/23           Teredo and other protocol assignments
    2001:db8::/32       documentation
    3fff::/20           documentation
    2002::/16           6to4
    2620:4f:8000::/48   AS112 sink
    ::1/128             loopback
    fc00::/7            private
""")

UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
COMPATIBLE = IPv6Network("::/96")
TRANSLATED = (NAT64, IPv6Network("64:ff9b:1::/48"), IPv6Network("::ffff:0:0:0/96"))
"""Well-known and local NAT64, and SIIT: a translator on the way dials the last 32 bits."""
ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def refusal(address: str, allow: Sequence[Network] = (), *, public: bool = True) -> str | None:
    """Why this address may not be dialled, or None: it may. `public` False: only what `allow` lists may.

    An address that carries another (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP) may be dialled when both may.
    """
    try:
        outer = ip_address(address.partition("%")[0])
    except ValueError:
        return "not an IP address"
    reasons = (_refusal(one, allow, public=public) for one in _unwrapped(outer))
    return next((f"{address} is refused: {reason}" for reason in reasons if reason), None)


def _refusal(address: Address, allow: Sequence[Network], *, public: bool) -> str | None:
    if never := _named(address, NEVER):
        return never
    if any(address in network for network in allow):
        return None
    if special := _named(address, UNLESS_ALLOWED):
        return f"{special}, and not in the destination's allow-list"
    if address.version == 6 and address not in UNICAST and address not in NAT64:
        return "no public IPv6 address, and not in the destination's allow-list"
    return None if public else "plain http goes only to networks in the destination's allow-list"


def _named(address: Address, table: Sequence[tuple[Network, str]]) -> str | None:
    return next((name for network, name in table if address in network), None)


def _unwrapped(address: Address) -> Iterator[Address]:
    """The address and those it carries. Of an IPv4-mapped one only the inner: that is what the kernel dials."""
    if not isinstance(address, IPv6Address):
        yield address
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
        return
    yield address
    yield from address.teredo or ()
    if address.sixtofour:
        yield address.sixtofour
    number = int(address)
    carries = any(address in network for network in TRANSLATED) or (number >> 32) & 0xFFFF_FFFF in ISATAP
    if carries or (address in COMPATIBLE and number > 1):
        yield IPv4Address(number & 0xFFFF_FFFF)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of an allow-list. Raises ConfigError, with a line for each that is none."""
    networks, problems = [], []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            problems.append(f"allow: {error}; write a network such as 10.1.0.0/16 or fd12:3456::/32")
    if problems:
        raise ConfigError(problems)
    return tuple(networks)


def url_problem(url: str) -> str | None:
    """What is wrong with a URL to send to, or None. The URL itself is not repeated: its path may be a secret."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # UnicodeError, of a label that is no host name, is one
        return "its host or port is malformed"
    if parts.scheme not in ("http", "https"):
        return "it must begin with https:// (or http:// for a private network)"
    if parts.username is not None or parts.password is not None:
        return "put the user and password into headers, not into the URL"
    if not host or port == 0:
        return "it names no host, or port 0"
    if host.rstrip(b".").rpartition(b".")[2].isdigit() and not _is_address(host.decode()):
        return "write an IP address as four numbers from 0 to 255"
    return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
