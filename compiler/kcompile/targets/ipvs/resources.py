"""The keys and values of a Program of mode ipvs; `version` is 4 or 6:

DeviceKey()                      -> ``""``          the dummy device with the VIPs (observed: or ``down``)
SetKey(version, name)            -> its definition  as ``ipset create`` takes it
ElementKey(version, set, entry)  -> its options     as ``ipset add`` takes them
ChainKey, JumpKey                                   as in targets/xtables/keys.py
VirtualServerKey(version, protocol, address, port)              -> VirtualServer
RealServerKey(version, protocol, address, port, ip, real_port)  -> RealServer
AddressKey(version, address)     -> ``""``          a VIP on the device
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ...program import Key

__all__ = [
    "AddressKey",
    "DEVICE",
    "DRAINED",
    "DeviceKey",
    "ElementKey",
    "FWMARK",
    "RealServer",
    "RealServerKey",
    "SETS",
    "SET_PREFIX",
    "SetKey",
    "VirtualServer",
    "VirtualServerKey",
    "set_name",
]

DEVICE = "kcompile-ipvs0"
FWMARK = "fwmark"
SET_PREFIX = "KCOMPILE-"

_BY_PORT = "hash:ip,port"
_BY_NODE_PORT = "hash:net,port"  # every address in two halves: no type knows protocol and port alone

# What each set says of a frontend (or of a client). Their number is the same however many Services there are.
SETS: dict[str, tuple[str, str]] = {
    "VIPS": ("hash:ip", ""),
    "FRONTENDS": (_BY_PORT, " comment"),
    "INSIDE": (_BY_PORT, " skbinfo"),  # local pods and the host have a pool of their own: its mark
    "MASQUERADE": (_BY_PORT, ""),  # everybody is masqueraded
    "OUTSIDE": (_BY_PORT, ""),  # everybody but local pods is
    "REJECT": (_BY_PORT, ""),
    "DROP": (_BY_PORT, ""),
    "GUARDED": (_BY_PORT, ""),
    "RANGES": ("hash:ip,port,net", ""),
    "STICKY": (_BY_PORT, ""),
    "LOOP": ("hash:ip,port,ip", ""),  # local endpoints, which may reach themselves
    "NODE-IPS": ("hash:ip", ""),
    "EXCLUDED": ("hash:net", ""),  # virtual servers here that no Service has are somebody else's
    "NODEPORTS": (_BY_NODE_PORT, " comment skbinfo"),
    "NP-INSIDE": (_BY_NODE_PORT, " skbinfo"),
    "NP-MASQUERADE": (_BY_NODE_PORT, ""),
    "NP-REJECT": (_BY_NODE_PORT, ""),
    "NP-DROP": (_BY_NODE_PORT, ""),
}


def set_name(version: int, name: str) -> str:
    """The kernel's name of one of SETS."""
    return f"{SET_PREFIX}{version}-{name}"


class DeviceKey(Key, frozen=True, gc=False):
    """The dummy device."""

    kind: ClassVar[str] = "device"


class SetKey(Key, frozen=True, gc=False):
    """An ipset; `name` is one of SETS."""

    kind: ClassVar[str] = "set"
    version: int
    name: str


class ElementKey(Key, frozen=True, gc=False):
    """An element of the ipset `set` (one of SETS); `entry` as ``ipset add`` takes it."""

    kind: ClassVar[str] = "element"
    version: int
    set: str
    entry: str

    @property
    def home(self) -> SetKey:
        """The set that it is in."""
        return SetKey(self.version, self.set)


class AddressKey(Key, frozen=True, gc=False):
    """A VIP on the dummy device."""

    kind: ClassVar[str] = "address"
    version: int
    address: str


class VirtualServerKey(Key, frozen=True, gc=False):
    """ip_vs_service's identity.

    With the protocol FWMARK, `address` is the firewall mark in hexadecimal and `port` is 0.
    """

    kind: ClassVar[str] = "vs"
    version: int
    protocol: str
    address: str
    port: int


class RealServerKey(Key, frozen=True, gc=False):
    """ip_vs_dest's identity: that of its virtual server, and where it sends connections to."""

    kind: ClassVar[str] = "rs"
    version: int
    protocol: str
    address: str
    port: int
    ip: str
    real_port: int

    @property
    def virtual_server(self) -> VirtualServerKey:
        """The virtual server that it belongs to."""
        return VirtualServerKey(self.version, self.protocol, self.address, self.port)


class VirtualServer(msgspec.Struct, frozen=True, gc=False):
    """ip_vs_service: `flags` are IP_VS_SVC_F_*, `timeout` is that of persistence in seconds (0: none).

    `unlike`: what somebody else has set and we never do (a netmask of persistence, a persistence engine).
    """

    scheduler: str
    flags: int = 0
    timeout: int = 0
    unlike: str = ""


class RealServer(msgspec.Struct, frozen=True, gc=False):
    """ip_vs_dest, always masqueraded (IP_VS_CONN_F_MASQ).

    Weight 0 drains; `connections` and `expired` say how far it has come.

    `unlike`: what somebody else has set and we never do (another forwarding method, thresholds).
    """

    weight: int = 1
    connections: int = 0
    expired: bool = False
    unlike: str = ""

    @property
    def drained(self) -> bool:
        """Nothing is lost when it goes."""
        return self.weight == 0 and (self.connections == 0 or self.expired)


DRAINED = RealServer(0)
