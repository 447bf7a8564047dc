"""The keys and values of a Program of mode xdp:

    ConfigKey()                                  -> Config
    LocalKey(version, address)                   -> Local
    InterfaceKey(name)                           -> Interface
    RangeKey(version, protocol, service, cidr)   -> ``""``
    PoolKey(version, protocol, service, pool)    -> Pool          pool: ``cluster`` or ``local``
    ServingKey(version, protocol, service)       -> addresses     endpoints that get no new flows
    FrontendKey(version, protocol, address, port)-> Listener      address empty: a NodePort
    AddressKey(version, address)                 -> ``reject``    the verdict for its other ports
    AttachKey(hook, name)                        -> how           a program of bpf/ on an interface or cgroup

Protocols are in lower case. The maps number services, backends and slots; a Program has no such numbers
(kernel/bpf allocates them). A Program that was read back may hold StrayKey(map, entry) -> ``""``: an entry
that a killed apply has left, or one that no apply writes (then `entry` is its key's bytes in hexadecimal).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import msgspec

from ...ir.model import Disposition, FrontendKind, PoolKind, Verdict
from ...program import Key
from .layout import CONSTANTS

__all__ = [
    "ADDRESS_KIND",
    "ANY_PROTOCOL",
    "AddressKey",
    "AttachKey",
    "BARE",
    "Config",
    "ConfigKey",
    "DISPOSITIONS",
    "FrontendKey",
    "Interface",
    "InterfaceKey",
    "KINDS",
    "Listener",
    "Local",
    "LocalKey",
    "Member",
    "PROTOCOLS",
    "Pool",
    "PoolKey",
    "ROOT_CGROUP",
    "RangeKey",
    "Service",
    "ServiceKey",
    "ServingKey",
    "StrayKey",
    "byte_of",
    "disposition_text",
]

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
ANY_PROTOCOL = 0
ROOT_CGROUP = "root"
BARE = "tc, no Ethernet header"

KINDS = {
    FrontendKind.CLUSTER_IP.value: CONSTANTS["KIND_CLUSTER_IP"],
    FrontendKind.EXTERNAL_IP.value: CONSTANTS["KIND_EXTERNAL_IP"],
    FrontendKind.LOAD_BALANCER.value: CONSTANTS["KIND_LOAD_BALANCER"],
    FrontendKind.NODE_PORT.value: CONSTANTS["KIND_NODE_PORT"],
}
ADDRESS_KIND = CONSTANTS["KIND_ADDRESS"]


class Service(NamedTuple):
    """A Service port in one IP family: what the maps number as one service."""

    version: int
    protocol: str
    name: str


class ConfigKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "config"


class LocalKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "local"
    version: int
    address: str


class InterfaceKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "interface"
    name: str


class ServiceKey(Key, frozen=True, gc=False):
    """What RangeKey, PoolKey and ServingKey share."""

    version: int
    protocol: str
    service: str

    @property
    def owner(self) -> Service:
        """The Service port that the resource belongs to."""
        return Service(self.version, self.protocol, self.service)


class RangeKey(ServiceKey, frozen=True, gc=False):
    kind: ClassVar[str] = "range"
    cidr: str


class PoolKey(ServiceKey, frozen=True, gc=False):
    kind: ClassVar[str] = "pool"
    pool: str


class ServingKey(ServiceKey, frozen=True, gc=False):
    kind: ClassVar[str] = "serving"


class FrontendKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "frontend"
    version: int
    protocol: str
    address: str
    port: int


class AddressKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "address"
    version: int
    address: str


class AttachKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "attach"
    hook: str
    name: str


class StrayKey(Key, frozen=True, gc=False):
    """`map`: the map's name, or ``links`` or ``pins``; ``sizes``: a map that is smaller than asked for.

    `entry`: the number, name or key that identifies it there.
    """

    kind: ClassVar[str] = "stray"
    map: str
    entry: Any


class Config(msgspec.Struct, frozen=True, gc=False):
    """`pods4`/`pods6`: the CIDR that tells local pods, empty where none does.

    `service_cidrs`: whose unallocated addresses are dropped.
    """

    pods4: str = ""
    pods6: str = ""
    service_cidrs: tuple[str, ...] = ()
    sockets: str = "tcp"
    random: bool = False


class Interface(msgspec.Struct, frozen=True, gc=False):
    """`pods`: what comes in is from a local pod.

    `peer`: bpf_redirect_peer reaches it. `xdp`: XDP may redirect to it.

    The addresses are what masquerading puts.
    """

    pods: bool = False
    peer: bool = False
    xdp: bool = False
    address4: str = ""
    address6: str = ""


class Local(msgspec.Struct, frozen=True, gc=False):
    """An address of the node.

    `node_ports`: NodePorts answer there. `masquerade`: some interface's packets are masqueraded as it.
    """

    node_ports: bool = False
    masquerade: bool = False


class Listener(msgspec.Struct, frozen=True, gc=False):
    """`pods`, `host` and `others` are dispositions in words: ``dnat cluster masquerade``, ``reject``.

    `affinity` in seconds.
    """

    service: str
    kind: str
    pods: str
    host: str
    others: str
    affinity: int = 0
    ranges: bool = False


class Member(msgspec.Struct, frozen=True, gc=False, order=True):
    """A backend.

    `flags` are BACKEND_* of bpf/consts.h, with those of every pool of its Service that it is in.
    """

    ip: str
    port: int
    flags: int


class Pool(msgspec.Struct, frozen=True, gc=False):
    """`size`: how many places the pool's table has (maglev.py)."""

    size: int
    members: tuple[Member, ...]


def disposition_text(disposition: Disposition) -> str:
    """The words for `disposition`."""
    if disposition.verdict is not Verdict.DNAT:
        return str(disposition.verdict.value)
    masquerade = " masquerade" if disposition.masquerade else ""
    return f"dnat {disposition.pool.value}{masquerade}"


def byte_of(disposition: Disposition) -> int:
    """The disposition byte of bpf/consts.h."""
    byte = CONSTANTS[f"VERDICT_{disposition.verdict.name}"]
    if disposition.verdict is Verdict.DNAT:
        byte |= CONSTANTS["POOL_LOCAL"] if disposition.pool is PoolKind.LOCAL else 0
        byte |= CONSTANTS["MASQUERADE"] if disposition.masquerade else 0
    return byte


_ALL = (
    *(Disposition(verdict) for verdict in (Verdict.PASS, Verdict.REJECT, Verdict.DROP)),
    *(Disposition(Verdict.DNAT, pool, masquerade) for pool in PoolKind for masquerade in (False, True)),
)
DISPOSITIONS = {disposition_text(d): byte_of(d) for d in _ALL}
"""Words -> byte, of every disposition that there is."""
