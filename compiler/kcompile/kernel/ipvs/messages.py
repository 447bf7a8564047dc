"""Virtual and real servers as generic netlink messages (uapi/linux/ip_vs.h, ip_vs_genl_* in ip_vs_ctl.c)."""

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
    "as_dumped",
    "decode_head",
    "decode_real_server",
    "decode_service",
    "encode",
    "head",
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
_PERSISTENT, _HASHED = 0x1, 0x2
# IP_VS_SVC_F_PERSISTENT, ONEPACKET and SCHED1 to 3; HASHED is set by the kernel itself
_KEPT_FLAGS = 0x1 | 0x4 | 0x8 | 0x10 | 0x20
_METHODS = {1: "local node", 2: "tunnelled", 3: "routed"}  # IP_VS_CONN_F_*; 0 is masqueraded
_METHOD_BITS = 0x7

# IPVS_SVC_ATTR_*
_SVC_AF, _SVC_PROTOCOL, _SVC_ADDR, _SVC_PORT, _SVC_FWMARK, _SVC_SCHED = range(1, 7)
_SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_PE = 7, 8, 9, 11
# IPVS_DEST_ATTR_*
_DEST_ADDR, _DEST_PORT, _DEST_METHOD, _DEST_WEIGHT, _DEST_U_THRESH, _DEST_L_THRESH = range(1, 7)
_DEST_ACTIVE, _DEST_INACTIVE, _DEST_AF = 7, 8, 11

_u16, _u32 = struct.Struct("=H"), struct.Struct("=I")
_be16, _flags = struct.Struct(">H"), struct.Struct("=II")
_genl = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
# bytes of an answer to GET_SERVICE (ip_vs_genl_fill_service()): an address has the size of union nf_inet_addr
_UNION, _AF_SIZE, _ADDR_AT = 16, 8, 16
_MARKED, _ADDRESSED = 16, 44
_AFTER_SCHEDULER = 12 + 8 + 8  # flags, timeout, netmask


def header(command: int) -> bytes:
    """struct genlmsghdr, version 1 of IPVS."""
    return _genl.pack(command, 1, 0)


_HEADERS = {command: header(command) for command in range(1, 9)}
_AF = {version: attribute(_SVC_AF, _u16.pack(number)) for version, number in _FAMILIES.items()}
_DEST_TAIL_END = {version: attribute(_DEST_AF, _u16.pack(number)) for version, number in _FAMILIES.items()}
_THRESHOLDS = attribute(_DEST_U_THRESH, _u32.pack(0)) + attribute(_DEST_L_THRESH, _u32.pack(0))
_MASQUERADE = attribute(_DEST_METHOD, _u32.pack(0))  # IP_VS_CONN_F_MASQ
_HOST_MASKS = {4: b"\xff" * 4, 6: _u32.pack(128)}
_NETMASK = {version: attribute(_SVC_NETMASK, mask) for version, mask in _HOST_MASKS.items()}


def _address(version: int, address: str) -> bytes:
    """union nf_inet_addr; pyroute2 sends 4 bytes of an IPv4 one and the kernel takes either."""
    return socket.inet_pton(_FAMILIES[version], address)


def _service_key(key: VirtualServerKey) -> bytes:
    """The attributes that name a virtual server."""
    if key.protocol == FWMARK:
        return _AF[key.version] + attribute(_SVC_FWMARK, _u32.pack(int(key.address, 16)))
    return b"".join(
        (
            _AF[key.version],
            attribute(_SVC_PROTOCOL, _u16.pack(_PROTOCOLS[key.protocol])),
            attribute(_SVC_ADDR, _address(key.version, key.address)),
            attribute(_SVC_PORT, _be16.pack(key.port)),
        )
    )


@lru_cache(maxsize=64)
def _service_tail(version: int, value: VirtualServer, more_flags: int = 0) -> bytes:
    return b"".join(
        (
            attribute(_SVC_SCHED, value.scheduler.encode() + b"\0"),
            attribute(_SVC_FLAGS, _flags.pack(value.flags | more_flags, 0xFFFFFFFF)),
            attribute(_SVC_TIMEOUT, _u32.pack(value.timeout)),
            _NETMASK[version],
        )
    )


@lru_cache(maxsize=64)
def _dest_tail(version: int, port: int, weight: int) -> tuple[bytes, ...]:
    return (
        attribute(_DEST_PORT, _be16.pack(port)),
        _MASQUERADE,
        attribute(_DEST_WEIGHT, _u32.pack(weight)),
        _THRESHOLDS,
        _DEST_TAIL_END[version],
    )


@lru_cache(maxsize=4096)
def named(key: VirtualServerKey) -> bytes:
    """The nested attribute of a virtual server that real servers are added to; they come in runs."""
    return attribute(_SERVICE, _service_key(key))


def encode(change: Change) -> bytes:
    """The generic netlink payload for `change` of a virtual or real server."""
    key, old, new = change.key, change.old, change.new
    if isinstance(key, VirtualServerKey):
        if new is None:
            return _HEADERS[DEL_SERVICE] + attribute(_SERVICE, _service_key(key))
        command = NEW_SERVICE if old is None else SET_SERVICE
        return _HEADERS[command] + attribute(_SERVICE, _service_key(key) + _service_tail(key.version, new))
    assert isinstance(key, RealServerKey)
    weight = 0 if new is None else new.weight
    command = NEW_DEST if old is None else SET_DEST
    if new is None:
        command = DEL_DEST
    address = attribute(_DEST_ADDR, _address(key.version, key.ip))
    server = b"".join((address, *_dest_tail(key.version, key.real_port, weight)))
    return b"".join((_HEADERS[command], named(key.virtual_server), attribute(_DEST, server)))


def as_dumped(key: VirtualServerKey, value: VirtualServer) -> bytes:
    """A virtual server as an answer to GET_SERVICE has it, up to its statistics: see `head`."""
    named = _service_key(key)
    if key.protocol != FWMARK:
        address = _address(key.version, key.address).ljust(_UNION, b"\0")
        named = named[:_ADDR_AT] + attribute(_SVC_ADDR, address) + attribute(_SVC_PORT, _be16.pack(key.port))
    return named + _service_tail(key.version, value, _HASHED)


def head(data: memoryview, start: int) -> bytes:
    """What an answer to GET_SERVICE says of its virtual server, without statistics, as it came."""
    at = start + 8  # struct genlmsghdr, and the header of the attribute around all others
    size = _MARKED if _ATTRIBUTE.unpack_from(data, at + _AF_SIZE)[1] == _SVC_FWMARK else _ADDRESSED
    (scheduler,) = _u16.unpack_from(data, at + size)
    return bytes(data[at : at + size + ((scheduler + 3) & ~3) + _AFTER_SCHEDULER])


def decode_head(data: bytes) -> tuple[VirtualServerKey, VirtualServer] | None:
    """The virtual server of `head`."""
    message = bytes(4) + attribute(_SERVICE, data)
    return decode_service(memoryview(message), 0, len(message))


def decode_service(data: memoryview, start: int, end: int) -> tuple[VirtualServerKey, VirtualServer] | None:
    """The virtual server of one answer to GET_SERVICE; None for an unknown family or protocol."""
    found: dict[int, Any] = {}
    for kind, at, stop in attributes(data, start + 4, end):
        if kind == _SERVICE:
            for inner, begin, finish in attributes(data, at, stop):
                if inner in _READERS:
                    found[inner] = _READERS[inner](bytes(data[begin:finish]))
    version = _VERSIONS.get(found.get(_SVC_AF, 0))
    if version is None:
        return None
    flags = found.get(_SVC_FLAGS, 0) & _KEPT_FLAGS
    unlike: list[str] = []
    netmask = found.get(_SVC_NETMASK, _HOST_MASKS[version])
    if netmask != _HOST_MASKS[version]:
        unlike.append(f"netmask {_mask(version, netmask)}")
    if found.get(_SVC_PE):
        unlike.append(f"pe {found[_SVC_PE]}")
    timeout = found.get(_SVC_TIMEOUT, 0) if flags & _PERSISTENT else 0
    value = VirtualServer(found[_SVC_SCHED], flags, timeout, ", ".join(unlike))
    if mark := found.get(_SVC_FWMARK):
        return VirtualServerKey(version, FWMARK, f"{mark:#x}", 0), value
    protocol = _NAMES.get(found.get(_SVC_PROTOCOL, 0))
    if protocol is None:
        return None
    address = socket.inet_ntop(_FAMILIES[version], found[_SVC_ADDR][: 4 if version == 4 else 16])
    return VirtualServerKey(version, protocol, address, found[_SVC_PORT]), value


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
            if inner == _DEST_ADDR:
                ip = socket.inet_ntop(_FAMILIES[version], data[begin : begin + (4 if version == 4 else 16)])
            elif inner == _DEST_PORT:
                (port,) = _be16.unpack_from(data, begin)
            elif inner == _DEST_METHOD:
                unlike += _METHODS.get(_u32.unpack_from(data, begin)[0] & _METHOD_BITS, "")
            elif inner == _DEST_WEIGHT:
                (weight,) = _u32.unpack_from(data, begin)
            elif inner in (_DEST_U_THRESH, _DEST_L_THRESH):
                (limit,) = _u32.unpack_from(data, begin)
                unlike += f" threshold {limit}" if limit else ""
            elif inner in (_DEST_ACTIVE, _DEST_INACTIVE):
                connections += _u32.unpack_from(data, begin)[0]
                if inner == _DEST_INACTIVE:
                    break
    return ip, port, weight, connections, unlike.strip()


def _number(layout: struct.Struct) -> Callable[[bytes], Any]:
    return lambda data: layout.unpack_from(data)[0]


_READERS: dict[int, Callable[[bytes], Any]] = {
    _SVC_AF: _number(_u16),
    _SVC_PROTOCOL: _number(_u16),
    _SVC_ADDR: bytes,
    _SVC_PORT: _number(_be16),
    _SVC_FWMARK: _number(_u32),
    _SVC_SCHED: lambda data: data.rstrip(b"\0").decode(),
    _SVC_FLAGS: _number(_u32),
    _SVC_TIMEOUT: _number(_u32),
    _SVC_NETMASK: bytes,
    _SVC_PE: lambda data: data.rstrip(b"\0").decode(),
}
