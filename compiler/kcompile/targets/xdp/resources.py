"""What a Program of mode xdp is made of. The keys:

``("config",)``                                           -> Config
``("local", version, address)``                           -> Local
``("interface", name)``                                   -> Interface
``("range", version, protocol, service, cidr)``           -> ``""``
``("pool", version, protocol, service, kind)``            -> Pool          kind: ``cluster`` or ``local``
``("serving", version, protocol, service)``               -> addresses     endpoints that serve on and get no new flows
``("frontend", version, protocol, address, port)``        -> Listener      address empty: a NodePort
``("address", version, address)``                         -> ``reject``    what becomes of its other ports
``("attach", hook, name)``                                -> how           hook: a program of bpf/; name: an interface, or a cgroup

Protocols are in lower case. What the maps call services, backends and slots are numbers that the writer gives out (kernel/bpf); a Program
has none. Read back from a kernel, it may hold ``("stray", map, number)`` -> ``""``: what a killed apply has left; and with the
bytes of a key in hexadecimal for `number`, an entry that no apply writes.
"""

from __future__ import annotations

import msgspec

from ...ir.model import Disposition, FrontendKind, PoolKind, Verdict
from .layout import CONSTANTS

__all__ = [
    "ADDRESS_KIND", "ANY_PROTOCOL", "BARE", "Config", "DISPOSITIONS", "Interface", "KINDS", "Listener", "Local", "Member",
    "PROTOCOLS", "Pool", "ROOT_CGROUP", "byte_of", "disposition_text",
]  # fmt: skip

PROTOCOLS = {"tcp": 6, "udp": 17}
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


class Config(msgspec.Struct, frozen=True, gc=False):
    """`pods4`/`pods6`: the CIDR that tells local pods, empty where none does. `service_cidrs`: whose unallocated addresses are dropped."""

    pods4: str = ""
    pods6: str = ""
    service_cidrs: tuple[str, ...] = ()
    sockets: str = "tcp"
    random: bool = False


class Interface(msgspec.Struct, frozen=True, gc=False):
    """`pods`: what comes in is from a local pod. `peer`: bpf_redirect_peer reaches it. `xdp`: XDP may redirect to it.

    The addresses are what masquerading puts.
    """

    pods: bool = False
    peer: bool = False
    xdp: bool = False
    address4: str = ""
    address6: str = ""


class Local(msgspec.Struct, frozen=True, gc=False):
    """An address of the node. `node_ports`: NodePorts answer there. `masquerade`: some interface's packets are masqueraded as it."""

    node_ports: bool = False
    masquerade: bool = False


class Listener(msgspec.Struct, frozen=True, gc=False):
    """`pods`, `host` and `others` are dispositions in words: ``dnat cluster masquerade``, ``reject``. `affinity` in seconds."""

    service: str
    kind: str
    pods: str
    host: str
    others: str
    affinity: int = 0
    ranges: bool = False


class Member(msgspec.Struct, frozen=True, gc=False, order=True):
    """A backend. `flags` are BACKEND_* of bpf/consts.h, with those of every pool of its Service that it is in."""

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
