"""Services, backends and frontends, free of Kubernetes' spelling and of any kernel's.

Two stages. A `ServicePort` is what the specs say of one port of one Service in one IP family, with every
candidate `Endpoint`. The passes turn it into a `ResolvedPort`: the two pools of usable `Backend`s and the
`Frontend`s with a `Policy` that says, for each class of source, what happens to a new connection. Targets
read only resolved ports.

The structs are msgspec's frozen ones: dataclasses in all but speed (docs/adr/0002).
"""

from __future__ import annotations

import enum

import msgspec

from ..notices import Notice
from .node import NodeFacts, Settings

__all__ = [
    "Backend",
    "Dataplane",
    "Disposition",
    "Endpoint",
    "Family",
    "Frontend",
    "FrontendKind",
    "HealthCheck",
    "Policy",
    "PoolKind",
    "Protocol",
    "ResolvedPort",
    "ServicePort",
    "Verdict",
]


class _Word(enum.Enum):
    """Members are compared by identity, so that can be their hash too: Enum's own is written in Python, and
    policies are hashed for each port.
    """

    __hash__ = object.__hash__


class Family(_Word):
    """An IP family; `value` is the version number."""

    IPV4 = 4
    IPV6 = 6

    @property
    def bits(self) -> int:
        return 32 if self is Family.IPV4 else 128


class Protocol(_Word):
    """A transport protocol; `value` is Kubernetes' spelling, `lower` the kernel tools'."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"

    lower: str

    def __init__(self, value: str) -> None:
        self.lower = value.lower()


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """A candidate backend as an EndpointSlice gives it (conditions already defaulted)."""

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()


class ServicePort(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One port of one Service in one family, before the passes. `name` is ``namespace/service:portname``."""

    name: str
    family: Family
    protocol: Protocol
    port: int
    cluster_ip: str
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    external_local: bool = False
    internal_local: bool = False
    affinity_seconds: int = 0
    health_check_node_port: int = 0
    scheduler: str = ""
    endpoints: tuple[Endpoint, ...] = ()


class Backend(msgspec.Struct, frozen=True, gc=False, order=True):
    """A usable endpoint.

    `local`: it runs on this node. `hairpin`: it may be a pod of this node that calls itself.
    """

    ip: str
    port: int
    local: bool = False
    hairpin: bool = False


class PoolKind(_Word):
    """Which of a resolved port's two pools serves a packet."""

    CLUSTER = "cluster"
    LOCAL = "local"


class Verdict(_Word):
    """What becomes of a new connection: DNAT to a pool, REJECT, DROP, or PASS (this Service doesn't touch
    it).
    """

    DNAT = "dnat"
    REJECT = "reject"
    DROP = "drop"
    PASS = "pass"  # noqa: S105 (a verdict)


class Disposition(msgspec.Struct, frozen=True, gc=False):
    """What one class of source gets. `pool` and `masquerade` have a meaning with DNAT only."""

    verdict: Verdict
    pool: PoolKind = PoolKind.CLUSTER
    masquerade: bool = False


class Policy(msgspec.Struct, frozen=True, gc=False):
    """What new connections to a frontend get, by source, first match first.

    `pods`: local by the node's detector (never matches without one; then equal to `others`).
    `host`: any address of the node itself, where it isn't a pod's by the detector. `others`: the rest.
    """

    pods: Disposition
    host: Disposition
    others: Disposition

    @property
    def forwards(self) -> bool:
        """True when at least one class of source reaches a pool."""
        return Verdict.DNAT in (self.pods.verdict, self.host.verdict, self.others.verdict)

    @property
    def one_pool(self) -> bool:
        """True when every source reaches the same pool, and the host is masqueraded just as outsiders are."""
        return (
            self.others.verdict is Verdict.DNAT
            and self.host == self.others
            and self.pods.pool is self.others.pool
        )


class FrontendKind(_Word):
    CLUSTER_IP = "ClusterIP"
    EXTERNAL_IP = "ExternalIP"
    LOAD_BALANCER = "LoadBalancer"
    NODE_PORT = "NodePort"


class Frontend(msgspec.Struct, frozen=True, gc=False):
    """Where a service port listens: `address` and `port` (`address` is empty for a NodePort: see NodeFacts).

    `source_ranges` (LoadBalancer only): sources outside are dropped before anything else; empty: no limit.
    """

    kind: FrontendKind
    address: str
    port: int
    policy: Policy
    source_ranges: tuple[str, ...] = ()


class ResolvedPort(msgspec.Struct, frozen=True, gc=False):
    """One port of one Service in one family, every semantic settled.

    Pools are sorted; `cluster` may hold what `local` holds.

    `serving`: ``(ip, port)`` of every endpoint that still serves, chosen or not: UDP flows to these stay
    alive.
    """

    name: str
    family: Family
    protocol: Protocol
    frontends: tuple[Frontend, ...]
    cluster: tuple[Backend, ...]
    local: tuple[Backend, ...]
    affinity_seconds: int = 0
    scheduler: str = ""
    serving: tuple[tuple[str, int], ...] = ()

    def pool(self, kind: PoolKind) -> tuple[Backend, ...]:
        return self.cluster if kind is PoolKind.CLUSTER else self.local


class HealthCheck(msgspec.Struct, frozen=True, gc=False):
    """A healthCheckNodePort: the node answers HTTP on `port`, 200 iff `local_endpoints` > 0
    (service_health.go).
    """

    port: int
    namespace: str
    service: str
    local_endpoints: int


class Dataplane(msgspec.Struct, frozen=True, gc=False):
    """All that a target needs to program one node.

    `ports` is sorted by (name, protocol, family), no frontend occurs twice.

    `notices` are warnings for the user: what the specs ask for and no node can give. `standing` are IP
    versions in which connections may be open though no Service may be left: their translation has to go on.
    """

    node: NodeFacts
    settings: Settings
    ports: tuple[ResolvedPort, ...]
    health_checks: tuple[HealthCheck, ...] = ()
    notices: tuple[Notice, ...] = ()
    standing: tuple[int, ...] = ()
