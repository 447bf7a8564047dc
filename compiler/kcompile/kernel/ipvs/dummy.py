"""The dummy device that VIPs are bound to, and its addresses by batched rtnetlink messages (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from ... import spawn
from ...errors import KernelError
from ...program import Change, Key
from ...targets.ipvs.resources import DEVICE, AddressKey, DeviceKey
from .. import sysctl
from ..netlink import NETLINK_ROUTE, Sockets, attribute, attributes, opened

__all__ = ["addresses", "change_addresses", "create", "encode_address", "index", "is_up", "observe", "remove"]

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_CREATE, _EXCL = 0x400, 0x200
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(number): version for version, number in _FAMILIES.items()}
_SIZES = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}
_HOST, _LINK = 254, 253  # RT_SCOPE_*
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_HEAD = struct.Struct("=BBBBI")  # struct ifaddrmsg
_SIOCGIFFLAGS, _IFF_UP, _IFREQ = 0x8913, 1, struct.Struct("=16sh22x")  # netdevice(7)
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
# deprecated: usable, but never the default source of packets that leave the node
_DEPRECATED = attribute(_IFA_CACHEINFO, struct.pack("=IIII", 0, 0xFFFFFFFF, 0, 0))
_FLAGS = attribute(_IFA_FLAGS, struct.pack("=I", _NODAD | _NOPREFIXROUTE))


def index() -> int:
    """The device's number in the current namespace, 0 where there is none."""
    try:
        return socket.if_nametoindex(DEVICE)
    except OSError:
        return 0


def is_up() -> bool:
    """Whether the device is up; while it is down, its addresses have no routes and can't be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, _IFREQ.pack(DEVICE.encode(), 0))
    return bool(_IFREQ.unpack(answer)[1] & _IFF_UP)


def create() -> None:
    """Make the device and bring it up, without IPv6 addresses of its own."""
    commands = f"link add {DEVICE} type dummy\n"
    if not index():
        _ip(commands)
    with contextlib.suppress(KernelError):  # no IPv6 here
        sysctl.write(f"net.ipv6.conf.{DEVICE}.addr_gen_mode", "1")
    _ip(f"link set {DEVICE} up\n")


def remove() -> None:
    """Remove the device and with it all its addresses."""
    if index():
        _ip(f"link del {DEVICE}\n")


def _ip(commands: str) -> None:
    done = spawn.run(["ip", "-batch", "-"], input=commands, capture_output=True, text=True)
    if done.returncode != 0:
        raise KernelError(f"ip {commands.strip()}: {' '.join(done.stderr.split())}")


def observe(sockets: Sockets | None = None) -> dict[Key, Any]:
    """The device and the addresses on it, but for link-local ones."""
    number = index()
    if not number:
        return {}
    program: dict[Key, Any] = {DeviceKey(): "" if is_up() else "down"}
    with opened(sockets, NETLINK_ROUTE) as netlink:
        for view, start, end in netlink.dump(_GETADDR, _HEAD.pack(0, 0, 0, 0, 0)):
            family, _, _, scope, device = _HEAD.unpack_from(view, start)
            if device != number or scope == _LINK or family not in _VERSIONS:
                continue
            found = {kind: bytes(view[at:stop]) for kind, at, stop in attributes(view, start + 8, end)}
            address = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
            program[AddressKey(_VERSIONS[family], socket.inet_ntop(family, address))] = ""
    return program


def addresses(sockets: Sockets | None = None) -> set[bytes]:
    """The addresses on the device as the kernel has them, 4 or 16 bytes; quicker than `observe`."""
    number = index()
    found: set[bytes] = set()
    with opened(sockets, NETLINK_ROUTE) as netlink:
        for view, start, _ in netlink.dump(_GETADDR, _HEAD.pack(0, 0, 0, 0, 0)):
            family, _, _, scope, device = _HEAD.unpack_from(view, start)
            if device == number and scope != _LINK and family in _SIZES:
                at = start + 12  # the first attribute is the address: inet_fill_ifaddr(), inet6_fill_ifaddr()
                found.add(bytes(view[at : at + _SIZES[family]]))
    return found


def encode_address(change: Change, device: int) -> tuple[int, int, bytes]:
    """Type, flags and payload of the message that binds or frees an address."""
    assert isinstance(change.key, AddressKey)
    version, address = change.key.version, change.key.address
    packed = socket.inet_pton(_FAMILIES[version], address)
    if change.new is None:
        head = _HEAD.pack(_FAMILIES[version], 8 * len(packed), 0, 0, device)
        return _DELADDR, 0, head + attribute(_IFA_LOCAL, packed)
    local = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if version == 4:
        return _NEWADDR, _CREATE | _EXCL, _HEAD.pack(socket.AF_INET, 32, 0, _HOST, device) + local
    head = _HEAD.pack(socket.AF_INET6, 128, _NODAD, 0, device)
    return _NEWADDR, _CREATE | _EXCL, head + local + _DEPRECATED + _FLAGS


def change_addresses(
    changes: Sequence[Change], failed: Callable[[Change, int], None], sockets: Sockets | None = None
) -> None:
    """Bind and free addresses; ``failed(change, errno)`` for each that was refused."""
    device = index()
    if not device:
        raise KernelError(f"{DEVICE}: {os.strerror(errno.ENODEV)}")
    with opened(sockets, NETLINK_ROUTE) as netlink:
        netlink.send(
            [encode_address(change, device) for change in changes],
            lambda at, code, _: failed(changes[at], code),
        )
