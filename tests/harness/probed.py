"""Random clusters, loaded into a node's kernel and probed with real packets: where the packet model foretold
another fate.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcompile.spec.objects import Service
from kcompile.trace.lowered import base_chains
from kcompile.trace.outcome import End, Ending

from .command import Kcompile
from .ebpf import room
from .flowcase import Expect, Flow, FlowCase, Node, Verdict
from .foretelling import cluster_of, foretold, lowered
from .lab import Lab
from .packets import join
from .probes import Fate, Outcome
from .random_manifests import random_manifests
from .verdicts import SILENCE

__all__ = ["surprises"]

_NODE = Node("node-a", ("192.0.2.10", "2001:db8:1::10"), ("10.244.0.0/24", "fd00:10:244::/64"), "zone-a")
_CONFIG = {"detectLocal": {"mode": "ClusterCIDR", "cidrs": ["10.244.0.0/16", "fd00:10:244::/48"]}}
_SOURCES = {
    4: ("203.0.113.7", "198.51.100.9", "10.244.0.200", "192.0.2.10"),
    6: ("2001:db8:9::9", "fd00:10:244::c8", "2001:db8:1::10"),
}
_PATIENCE = 3.0  # seconds


def surprises(seed: int, mode: str, folder: Path, flows: int = 30) -> Iterator[str]:
    """A line for each of `flows` random connections that ends otherwise than the model says."""
    rng = random.Random(seed)
    case = _random_case(rng, folder, flows)
    program = lowered(case, mode, folder).program
    chains = base_chains(program)
    foresight = [foretold(chains, case, flow, program) for flow in case.flows]
    case = dataclasses.replace(
        case, flows=tuple([_with_listeners(*each) for each in zip(case.flows, foresight, strict=True)])
    )
    with Lab(case) as lab, room(mode, folder) as options:
        node = Kcompile(mode, lab.topology.node, folder, options)
        try:
            applied = node.apply(case)
            if applied.code:
                yield f"seed {seed}: apply: {applied.output}"
                return
            for flow, endings in zip(case.flows, foresight, strict=True):
                is_dropped = all(ending.end is End.DROPPED for ending in endings)
                outcome = lab.probe(flow, SILENCE if is_dropped else _PATIENCE)
                if not any(_is(outcome, ending, flow) for ending in endings):
                    yield f"seed {seed}: {flow}: {outcome}; foretold: {endings}"
        finally:
            node.kill()


def _with_listeners(flow: Flow, endings: list[Ending]) -> Flow:
    """The flow, which makes the lab open a listener wherever it may end."""
    ends = [join(each.packet.destination, each.packet.port) for each in endings]
    return dataclasses.replace(flow, expects={"": Expect(Verdict.DNAT, frozenset(ends))})


def _is(outcome: Outcome, ending: Ending, flow: Flow) -> bool:
    """Whether a connection that ended as `outcome` may have gone this way."""
    if ending.end in (End.SENT, End.DELIVERED):
        packet = ending.packet
        is_there = outcome.fate is Fate.ANSWERED and outcome.listener == join(packet.destination, packet.port)
        return is_there and (packet.masqueraded or outcome.peer == flow.src)
    fates = {End.DROPPED: Fate.SILENT, End.REJECTED: Fate.REJECTED}
    return outcome.fate is fates.get(ending.end)


def _random_case(rng: random.Random, folder: Path, count: int) -> FlowCase:
    """A cluster whose Services have the addresses and ports that they would be given, and its flows."""
    manifests = [each for each in random_manifests(rng, 3) if each["metadata"]["name"] != _NODE.name]
    case = FlowCase("random", _NODE, _CONFIG, tuple(manifests), ())
    frontends = []
    for service in cluster_of(case, folder).inventory.services:
        _fix(manifests, service)
        frontends += _frontends(service)
    flows = tuple([_flow(rng, *rng.choice(frontends)) for _ in range(count)])
    return dataclasses.replace(case, flows=flows)


def _fix(manifests: list[dict[str, Any]], service: Service) -> None:
    """Write what was allocated into the Service's manifest."""
    meta = service.metadata
    (spec,) = [
        each["spec"]
        for each in manifests
        if each["kind"] == "Service"
        and (each["metadata"]["namespace"], each["metadata"]["name"]) == (meta.namespace, meta.name)
    ]
    spec |= {"clusterIP": service.spec.cluster_ip, "clusterIPs": service.spec.cluster_ips}
    for own, port in zip(spec["ports"], service.spec.ports, strict=True):
        if port.node_port:
            own["nodePort"] = port.node_port


def _frontends(service: Service) -> Iterator[tuple[str, int, str]]:
    """Address, port and protocol of each frontend."""
    spec, status = service.spec, service.status
    balancers = status.load_balancer.ingress if status and status.load_balancer else ()
    addresses = [*spec.cluster_ips, *(spec.external_ips or ()), *[each.ip for each in balancers or ()]]
    for port in spec.ports:
        for address in filter(None, addresses):
            yield address, port.port, port.protocol
        if port.node_port:
            yield from [(address, port.node_port, port.protocol) for address in _NODE.ips]


def _flow(rng: random.Random, address: str, port: int, protocol: str) -> Flow:
    source = rng.choice(_SOURCES[6 if ":" in address else 4])
    other = rng.random() < 0.1
    return Flow(source, address, 4242 if other else port, protocol)
