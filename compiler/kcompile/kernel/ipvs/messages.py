"""IPVS resources as the attributes of generic netlink messages (uapi/linux/ip_vs.h, ip_vs_genl_* in
ip_vs_ctl.c), and back.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ...program import Change
from ...targets.ipvs.resources import FWMARK, RealServerKey, VirtualServer, VirtualServerKey
from ..netlink import attribute, attributes

__all__ = [
    "GET_CONFIG",
    "GET_DEST",
    "GET_SERVICE",
    "SET_CONFIG",
    "decode_real_server",
    "decode_service",
    "encode",
    "header",
    "named",
]

NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = range(1, 9)
SET_CONFIG, GET_CONFIG = 12, 13
_SERVICE, _DEST = 1, 2  # IPVS_CMD_ATTR_*
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(number): version for version, number in _FAMILIES.items()}
_PERSISTENT = 0x1
_KEPT_FLAGS = (
    0x1 | 0x4 | 0x8 | 0x10 | 0x20
)  # IP_VS_SVC_F_PERSISTENT, ONEPACKET and SCHED1 to 3; HASHED is the kernel's own
_METHODS = {1: "local node", 2: "tunnelled", 3: "routed"}  # IP_VS_CONN_F_*; 0 is masqueraded
_METHOD_BITS = 0x7

_u16, _u32, _be16, _flags = (
    struct.Struct("=H"),
    struct.Struct("=I"),
    struct.Struct(">H"),
    struct.Struct("=II"),
)
_genl = struct.Struct("=BBH")


def header(command: int) -> bytes:
    """struct genlmsghdr, version 1 of IPVS."""
    return _genl.pack(command, 1, 0)


_HEADERS = {command: header(command) for command in range(1, 9)}
_AF = {version: attribute(1, _u16.pack(number)) for version, number in _FAMILIES.items()}
_DEST_TAIL_END = {version: attribute(11, _u16.pack(number)) for version, number in _FAMILIES.items()}
_THRESHOLDS = attribute(5, _u32.pack(0)) + attribute(6, _u32.pack(0))
_MASQUERADE = attribute(3, _u32.pack(0))  # IP_VS_CONN_F_MASQ
_HOST_MASKS = {4: b"\xff" * 4, 6: _u32.pack(128)}
_NETMASK = {version: attribute(9, mask) for version, mask in _HOST_MASKS.items()}


def _address(version: int, address: str) -> bytes:
    """union nf_inet_addr; pyroute2 sends 4 bytes of an IPv4 one and the kernel takes either."""
    return socket.inet_pton(_FAMILIES[version], address)


def _service_key(key: VirtualServerKey) -> bytes:
    """The attributes that name a virtual server."""
    if key.protocol == FWMARK:
        return _AF[key.version] + attribute(5, _u32.pack(int(key.address, 16)))
    return b"".join(
        (
            _AF[key.version],
            attribute(2, _u16.pack(_PROTOCOLS[key.protocol])),
            attribute(3, _address(key.version, key.address)),
            attribute(4, _be16.pack(key.port)),
        )
    )


@lru_cache(maxsize=64)
def _service_tail(version: int, value: VirtualServer) -> bytes:
    return b"".join(
        (
            attribute(6, value.scheduler.encode() + b"\0"),
            attribute(7, _flags.pack(value.flags, 0xFFFFFFFF)),
            attribute(8, _u32.pack(value.timeout)),
            _NETMASK[version],
        )
    )


@lru_cache(maxsize=64)
def _dest_tail(version: int, port: int, weight: int) -> tuple[bytes, ...]:
    return (
        attribute(2, _be16.pack(port)),
        _MASQUERADE,
        attribute(4, _u32.pack(weight)),
        _THRESHOLDS,
        _DEST_TAIL_END[version],
    )


@lru_cache(maxsize=4096)
def named(key: VirtualServerKey) -> bytes:
    """The nested attribute of a virtual server that real servers are added to; they come in runs."""
    return attribute(_SERVICE, _service_key(key))


def encode(change: Change) -> bytes:
    """The generic netlink payload that makes `change`, of a virtual or real server, true."""
    key, old, new = change.key, change.old, change.new
    if isinstance(key, VirtualServerKey):
        if new is None:
            return _HEADERS[DEL_SERVICE] + attribute(_SERVICE, _service_key(key))
        command = NEW_SERVICE if old is None else SET_SERVICE
        return _HEADERS[command] + attribute(_SERVICE, _service_key(key) + _service_tail(key.version, new))
    assert isinstance(key, RealServerKey)
    weight = 0 if new is None else new.weight
    command = DEL_DEST if new is None else NEW_DEST if old is None else SET_DEST
    server = b"".join(
        (attribute(1, _address(key.version, key.ip)), *_dest_tail(key.version, key.real_port, weight))
    )
    return b"".join((_HEADERS[command], named(key.virtual_server), attribute(_DEST, server)))


def decode_service(data: memoryview, start: int, end: int) -> tuple[VirtualServerKey, VirtualServer] | None:
    """The virtual server of one answer to GET_SERVICE; None where it isn't one of a kind that we know."""
    found: dict[int, Any] = {}
    for kind, at, stop in attributes(data, start + 4, end):
        if kind == _SERVICE:
            for inner, begin, finish in attributes(data, at, stop):
                if inner in _READERS:
                    found[inner] = _READERS[inner](bytes(data[begin:finish]))
    version = _VERSIONS.get(found.get(1, 0))
    if version is None:
        return None
    flags = found.get(7, 0) & _KEPT_FLAGS
    unlike = (
        [f"netmask {_mask(version, found[9])}"]
        if found.get(9, _HOST_MASKS[version]) != _HOST_MASKS[version]
        else []
    )
    unlike += [f"pe {found[11]}"] if found.get(11) else []
    value = VirtualServer(found[6], flags, found.get(8, 0) if flags & _PERSISTENT else 0, ", ".join(unlike))
    if mark := found.get(5):
        return VirtualServerKey(version, FWMARK, f"{mark:#x}", 0), value
    protocol = _NAMES.get(found.get(2, 0))
    if protocol is None:
        return None
    address = socket.inet_ntop(_FAMILIES[version], found[3][: 4 if version == 4 else 16])
    return VirtualServerKey(version, protocol, address, found[4]), value


def _mask(version: int, mask: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET, mask) if version == 4 else str(_u32.unpack(mask)[0])


def decode_real_server(
    data: memoryview, start: int, end: int, version: int
) -> tuple[str, int, int, int, str]:
    """One answer to GET_DEST: address, port, weight, connections, and whatever we never set (else empty)."""
    ip, port, weight, connections, unlike = "", 0, 0, 0, ""
    for kind, at, stop in attributes(data, start + 4, end):
        if kind != _DEST:
            continue
        for inner, begin, _ in attributes(data, at, stop):
            if inner == 1:
                ip = socket.inet_ntop(_FAMILIES[version], data[begin : begin + (4 if version == 4 else 16)])
            elif inner == 2:
                (port,) = _be16.unpack_from(data, begin)
            elif inner == 3:
                unlike += _METHODS.get(_u32.unpack_from(data, begin)[0] & _METHOD_BITS, "")
            elif inner == 4:
                (weight,) = _u32.unpack_from(data, begin)
            elif inner in (5, 6):  # U_THRESH, L_THRESH
                (limit,) = _u32.unpack_from(data, begin)
                unlike += f" threshold {limit}" if limit else ""
            elif inner in (7, 8):  # ACTIVE_CONNS, INACT_CONNS
                connections += _u32.unpack_from(data, begin)[0]
                if inner == 8:
                    break
    return ip, port, weight, connections, unlike.strip()


def _number(layout: struct.Struct) -> Callable[[bytes], Any]:
    return lambda data: layout.unpack_from(data)[0]


_READERS: dict[int, Callable[[bytes], Any]] = {
    1: _number(_u16),
    2: _number(_u16),
    3: bytes,
    4: _number(_be16),
    5: _number(_u32),
    6: lambda data: data.rstrip(b"\0").decode(),
    7: _number(_u32),
    8: _number(_u32),
    9: bytes,
    11: lambda data: data.rstrip(b"\0").decode(),
}
