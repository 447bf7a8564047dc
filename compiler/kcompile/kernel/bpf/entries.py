"""Encodes a Program's resources (targets/xdp/resources.py) as map keys and values, and decodes them; pure."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any

from ...program import Key
from ...targets.xdp import layout
from ...targets.xdp.resources import (
    ADDRESS_KIND,
    ANY_PROTOCOL,
    DISPOSITIONS,
    KINDS,
    PROTOCOLS,
    AddressKey,
    Config,
    FrontendKey,
    Interface,
    Listener,
    Local,
    Member,
    Service,
)

__all__ = [
    "address",
    "address_entry",
    "backend",
    "config",
    "frontend_entry",
    "frontend_key",
    "hash_input",
    "interface",
    "local_entry",
    "member",
    "name",
    "packed",
    "padded",
    "range_key",
    "read_config",
    "read_frontend",
    "read_interface",
    "read_local",
    "read_name",
    "read_range",
]

_C = layout.CONSTANTS
_WORDS = {byte: words for words, byte in DISPOSITIONS.items()}
_KIND_NAMES = {number: kind for kind, number in KINDS.items()}
_PROTOCOL_NAMES = {number: protocol for protocol, number in PROTOCOLS.items()}
_LOCAL = ("ADDRESS_NODE_PORTS", "ADDRESS_MASQUERADE")
_INTERFACE = ("INTERFACE_PODS", "INTERFACE_PEER", "INTERFACE_XDP")


def packed(version: int, text: str) -> bytes:
    """4 or 16 bytes; zeros for an empty address."""
    if not text:
        return bytes(4 if version == 4 else 16)
    return inet_pton(AF_INET if version == 4 else AF_INET6, text)


def padded(version: int, text: str) -> bytes:
    """16 bytes, an IPv4 address first."""
    return packed(version, text).ljust(16, b"\0")


def address(data: bytes) -> str:
    """The address in 4 or 16 bytes; empty for zeros."""
    return inet_ntop(AF_INET if len(data) == 4 else AF_INET6, data) if any(data) else ""


def _port(number: int) -> bytes:
    return number.to_bytes(2)


def frontend_key(version: int, protocol: str, ip: str, port: int) -> bytes:
    form = layout.FRONTEND_KEY4 if version == 4 else layout.FRONTEND_KEY6
    return form.pack(packed(version, ip), _port(port), PROTOCOLS.get(protocol, ANY_PROTOCOL))


def frontend_entry(listener: Listener, service: int) -> bytes:
    flags = _C["FRONTEND_RANGES"] if listener.ranges else 0
    flags |= _C["FRONTEND_AFFINITY"] if listener.affinity else 0
    dispositions = (DISPOSITIONS[listener.pods], DISPOSITIONS[listener.host], DISPOSITIONS[listener.others])
    return layout.FRONTEND.pack(service, *dispositions, flags, listener.affinity, KINDS[listener.kind])


def address_entry(words: str) -> bytes:
    """The value of an ``address`` entry: the verdict `words` for the address's unknown ports."""
    byte = DISPOSITIONS[words]
    return layout.FRONTEND.pack(0, byte, byte, byte, 0, 0, ADDRESS_KIND)


def read_frontend(
    version: int, key: bytes, value: bytes, service_name: Callable[[int], str]
) -> tuple[Key, Any]:
    """The ``frontend`` or ``address`` resource of an entry.

    An entry we could not have written decodes to a value that equals no desired one, so the diff replaces it.
    """
    ip, port, number = (layout.FRONTEND_KEY4 if version == 4 else layout.FRONTEND_KEY6).unpack(key)
    service, pods, host, others, flags, affinity, kind = layout.FRONTEND.unpack(value)
    if kind == ADDRESS_KIND:
        words = _WORDS.get(others, str(others)) if pods == host == others else "unlike"
        return AddressKey(version, address(ip)), words
    for_pods, for_host, for_others = (_WORDS.get(byte, str(byte)) for byte in (pods, host, others))
    ranges, affinity = bool(flags & _C["FRONTEND_RANGES"]), affinity if flags & _C["FRONTEND_AFFINITY"] else 0
    listener = Listener(
        service_name(service),
        _KIND_NAMES.get(kind, str(kind)),
        for_pods,
        for_host,
        for_others,
        affinity,
        ranges,
    )
    protocol = _PROTOCOL_NAMES.get(number, str(number))
    return FrontendKey(version, protocol, address(ip), int.from_bytes(port)), listener


def backend(version: int, m: Member, flags: int, service: int) -> bytes:
    return layout.BACKEND.pack(padded(version, m.ip), _port(m.port), version, flags, service)


def hash_input(version: int, end: tuple[str, int]) -> bytes:
    """Bytes hashed for Maglev: 16-byte address + 2-byte port."""
    return padded(version, end[0]) + _port(end[1])


def member(data: bytes | memoryview) -> tuple[Member, int, int]:
    """The member in an entry of the map backends, its IP version (0: the entry is free), and its service's
    number.
    """
    ip, port, version, flags, service = layout.BACKEND.unpack(data)
    return Member(address(ip[:4] if version == 4 else ip), int.from_bytes(port), flags), version, service


def range_key(version: int, service: int, cidr: str) -> bytes:
    ip, _, length = cidr.partition("/")
    form = layout.RANGE_KEY4 if version == 4 else layout.RANGE_KEY6
    return form.pack(32 + int(length), service, packed(version, ip))


def read_range(version: int, key: bytes) -> tuple[int, str]:
    """The service's number and the CIDR."""
    length, service, ip = (layout.RANGE_KEY4 if version == 4 else layout.RANGE_KEY6).unpack(key)
    return service, f"{inet_ntop(AF_INET if version == 4 else AF_INET6, ip)}/{length - 32}"


def name(version: int, protocol: str, text: str) -> bytes:
    return layout.NAME.pack(PROTOCOLS[protocol], version, text.encode())


def read_name(data: bytes) -> Service:
    """The Service port in an entry of the map names."""
    number, version, text = layout.NAME.unpack(data)
    return Service(
        version, _PROTOCOL_NAMES.get(number, str(number)), text.rstrip(b"\0").decode(errors="replace")
    )


def local_entry(value: Local) -> bytes:
    return layout.LOCAL.pack(
        sum(_C[bit] for bit, have in zip(_LOCAL, (value.node_ports, value.masquerade), strict=True) if have)
    )


def read_local(data: bytes) -> Local:
    (flags,) = layout.LOCAL.unpack(data)
    node_ports, masquerade = (bool(flags & _C[bit]) for bit in _LOCAL)
    return Local(node_ports, masquerade)


def interface(value: Interface) -> bytes:
    flags = sum(
        _C[bit] for bit, have in zip(_INTERFACE, (value.pods, value.peer, value.xdp), strict=True) if have
    )
    return layout.INTERFACE.pack(flags, packed(4, value.address4), packed(6, value.address6))


def read_interface(data: bytes) -> Interface:
    flags, address4, address6 = layout.INTERFACE.unpack(data)
    pods, peer, xdp = (bool(flags & _C[bit]) for bit in _INTERFACE)
    return Interface(pods, peer, xdp, address(address4), address(address6))


def _network(version: int, cidr: str) -> tuple[bytes, bytes]:
    """Address and mask."""
    ip, _, length = cidr.partition("/")
    size = 32 if version == 4 else 128
    mask = (1 << size) - (1 << (size - int(length)))
    return packed(version, ip), mask.to_bytes(size // 8)


def _cidr(ip: bytes, mask: bytes) -> str:
    return f"{inet_ntop(AF_INET if len(ip) == 4 else AF_INET6, ip)}/{int.from_bytes(mask).bit_count()}"


_SOCKETS = {
    "off": 0,
    "tcp": _C["CONFIG_SOCKET_TCP"],
    "all": _C["CONFIG_SOCKET_TCP"] | _C["CONFIG_SOCKET_UDP"],
}


def config(value: Config, netns: int) -> bytes:
    """`netns`: the cookie of the node's network namespace."""
    flags = _SOCKETS[value.sockets] | (_C["CONFIG_RANDOM"] if value.random else 0)
    fields: list[bytes] = []
    for version, pods in ((4, value.pods4), (6, value.pods6)):
        flags |= _C[f"CONFIG_PODS_BY_CIDR{version}"] if pods else 0
        fields += _network(version, pods) if pods else (packed(version, ""), packed(version, ""))
    for version in (4, 6):
        networks = [_network(version, c) for c in value.service_cidrs if (":" in c) is (version == 6)]
        unused = packed(version, ""), b"\xff" * (4 if version == 4 else 16)  # matches no address but zero
        networks += [unused] * (layout.SERVICE_CIDRS - len(networks))
        fields += b"".join(ip for ip, _ in networks), b"".join(mask for _, mask in networks)
    return layout.CONFIG.pack(flags, netns, *fields)


def read_config(data: bytes) -> tuple[Config, int]:
    """The config and the cookie of its network namespace (0: never written)."""
    flags, netns, pods4, mask4, pods6, mask6, *services = layout.CONFIG.unpack(data)
    cidrs: list[str] = []
    for ips, masks in (services[:2], services[2:]):
        size = len(ips) // layout.SERVICE_CIDRS
        for at in range(0, len(ips), size):
            ip, mask = ips[at : at + size], masks[at : at + size]
            if any(ip) or not all(byte == 0xFF for byte in mask):
                cidrs.append(_cidr(ip, mask))
    sockets = next((name for name, bits in _SOCKETS.items() if bits == flags & _SOCKETS["all"]), "unlike")
    by4, by6 = flags & _C["CONFIG_PODS_BY_CIDR4"], flags & _C["CONFIG_PODS_BY_CIDR6"]
    return Config(
        _cidr(pods4, mask4) if by4 else "",
        _cidr(pods6, mask6) if by6 else "",
        tuple(cidrs),
        sockets,
        bool(flags & _C["CONFIG_RANDOM"]),
    ), netns
