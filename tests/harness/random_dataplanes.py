"""Random service ports that touch every feature of the IR: for property tests of any target."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.passes import resolve

__all__ = ["random_dataplane", "random_history", "random_node", "random_ports", "random_settings"]


def random_ports(rng: random.Random, services: int = 12) -> list[ServicePort]:
    """Service ports of about `services` Services, both families, all protocols, no two with the same
    ClusterIP or NodePort.
    """
    return [port for i in rng.sample(range(4 * services), services) for port in _service(rng, i)]


def _service(rng: random.Random, i: int) -> list[ServicePort]:
    ports = []
    external = rng.random() < 0.5
    options = {
        "external_local": rng.random() < 0.4,
        "internal_local": rng.random() < 0.3,
        "affinity_seconds": rng.choice((0, 0, 0, 600, 10800)),
    }
    for family in rng.choice(((Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6))):
        six = family is Family.IPV6
        for p in range(rng.choice((1, 1, 2, 12))):
            address = f"fd00:10:96::{i + 1:x}" if six else f"10.96.{i // 200}.{i % 200 + 1}"
            ranges = rng.choice(((), ("203.0.113.0/29",), ("203.0.113.0/24", "192.0.2.0/24")))
            ports.append(
                ServicePort(
                    name=f"ns{i % 3}/svc-{i}:p{p}",
                    family=family,
                    protocol=rng.choice(tuple(Protocol)),
                    port=80 + p,
                    cluster_ip=address,
                    node_port=30000 + 16 * i + p if external and rng.random() < 0.7 else 0,
                    external_ips=(f"2001:db8:e::{i + 1:x}" if six else f"198.18.1.{i % 250 + 1}",)
                    if external and rng.random() < 0.5
                    else (),
                    load_balancer_ips=(f"2001:db8:f::{i + 1:x}" if six else f"198.18.0.{i % 250 + 1}",)
                    if external and rng.random() < 0.5
                    else (),
                    source_ranges=() if six else ranges,
                    endpoints=tuple(
                        _endpoint(rng, six, e) for e in rng.sample(range(40), rng.choice((0, 1, 2, 3, 7)))
                    ),
                    **options,
                )
            )
    return ports


def _endpoint(rng: random.Random, six: bool, e: int) -> Endpoint:
    ready = rng.random() < 0.8
    return Endpoint(
        f"fd00:10:244::{e + 1:x}" if six else f"10.244.0.{e + 1}",
        rng.choice((8080, 8080, 9090)),
        rng.choice(("node-a", "node-b", "")),
        ready=ready,
        serving=ready or rng.random() < 0.5,
        terminating=not ready and rng.random() < 0.5,
        zone_hints=rng.choice(((), ("zone-a",), ("zone-b",))),
    )


def random_settings(rng: random.Random) -> Settings:
    """Settings with any detector and either compatibility record."""
    detector = rng.choice(
        (
            Detector(),
            Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00:10:244::/48"),
            Detector(DetectMode.BRIDGE_INTERFACE, interface="cbr0"),
            Detector(DetectMode.INTERFACE_NAME_PREFIX, interface="veth"),
        )
    )
    return Settings(
        compat=Compat.of(rng.choice(("iptables", "nftables"))),
        detector=detector,
        masquerade_all=rng.random() < 0.2,
        masquerade_mark=1 << rng.choice((14, 5)),
        service_cidrs=rng.choice(((), ("10.96.0.0/12", "fd00:10:96::/108"))),
        drop_invalid=rng.random() < 0.5,
    )


def random_node(rng: random.Random) -> NodeFacts:
    """The node ``node-a``, whose NodePorts answer everywhere or on some addresses."""
    return NodeFacts(
        name="node-a",
        zone=rng.choice(("", "zone-a")),
        addresses=("192.0.2.10", "2001:db8:1::10"),
        node_ports4=rng.choice((None, ("192.0.2.10",), ("192.0.2.10", "127.0.0.1"))),
        node_ports6=rng.choice((None, ("2001:db8:1::10",))),
        route_localnet=rng.random() < 0.3,
    )


def random_dataplane(rng: random.Random, services: int = 12) -> Dataplane:
    """A resolved dataplane with all of the above."""
    return resolve(random_ports(rng, services), random_node(rng), random_settings(rng))


def random_history(rng: random.Random, services: int = 12, steps: int = 8) -> Iterator[Dataplane]:
    """A node over time: Services come, go and change; mostly one, and now and then all of them."""
    node, settings = random_node(rng), random_settings(rng)
    held: dict[int, list[ServicePort]] = {}
    for step in range(steps):
        some = rng.sample(range(2 * services), services if step == 0 else rng.choice((1, 1, 1, 4, services)))
        for i in some:
            before = held.pop(i, None)
            if before is None or rng.random() < 0.3:
                held[i] = _service(rng, i)
            elif rng.random() < 0.6:
                held[i] = [_with_other_endpoints(rng, port) for port in before]
        if step and rng.random() < 0.1:
            held.clear()
        yield resolve([port for i in sorted(held) for port in held[i]], node, settings)


def _with_other_endpoints(rng: random.Random, port: ServicePort) -> ServicePort:
    six = port.family is Family.IPV6
    kept = [endpoint for endpoint in port.endpoints if rng.random() < 0.8]
    more = [_endpoint(rng, six, e) for e in rng.sample(range(40, 60), rng.choice((0, 1, 2)))]
    return msgspec.structs.replace(port, endpoints=(*kept, *more))
