"""What a Program of mode ipvs is made of. The keys:

``("device",)``                                        -> ``""``           the dummy device that VIPs are bound to; observed: ``down``
``("set", version, name)``                             -> its definition   as ``ipset create`` takes it
``("element", version, name, entry)``                  -> its options      as ``ipset add`` takes them
``("chain", ...)``, ``("jump", ...)``                                      as in targets/iptables
``("vs", version, protocol, address, port)``           -> VirtualServer    protocol ``fwmark``: address is the mark, port 0
``("rs", version, protocol, address, port, ip, port)`` -> RealServer
``("address", version, ip)``                           -> ``""``           a VIP on the device
"""

from __future__ import annotations

import msgspec

from ..base import Key

__all__ = ["DEVICE", "DRAINED", "FWMARK", "RealServer", "SETS", "SET_PREFIX", "VirtualServer", "set_name", "virtual_server_of"]

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


class VirtualServer(msgspec.Struct, frozen=True, gc=False):
    """ip_vs_service: `flags` are IP_VS_SVC_F_*, `timeout` is that of persistence in seconds (0: none).

    `unlike`: what somebody else has set and we never do (a netmask of persistence, a persistence engine).
    """

    scheduler: str
    flags: int = 0
    timeout: int = 0
    unlike: str = ""


class RealServer(msgspec.Struct, frozen=True, gc=False):
    """ip_vs_dest, always masqueraded (IP_VS_CONN_F_MASQ). Weight 0 drains; `connections` and `expired` say how far it has come.

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


def virtual_server_of(key: Key) -> Key:
    """The key of the virtual server that the real server `key` belongs to."""
    return ("vs", *key[1:5])
