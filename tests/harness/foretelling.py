"""What the packet model says of a flow case, held against what the case expects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

import kcompile
from kcompile.ir.node import Link
from kcompile.program import Key
from kcompile.targets.xdp.lower import lower
from kcompile.trace.chains import BaseChain
from kcompile.trace.journey import Rules, travel
from kcompile.trace.lowered import host_with
from kcompile.trace.outcome import End, Ending
from kcompile.trace.packet import Host, Packet

from .command import configuration, node_object
from .flowcase import Expect, Flow, FlowCase, Node, Verdict

__all__ = ["cluster_of", "disagreement", "foretold", "lowered"]

_VERDICTS = {End.DROPPED: Verdict.DROP, End.REJECTED: Verdict.REJECT}


def cluster_of(case: FlowCase, folder: Path) -> kcompile.Cluster:
    """The case's cluster as its node sees it; its configuration is written to `folder`."""
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump_all(configuration(case.config)))
    sources = [node_object(case.node), *case.manifests]
    return kcompile.read_cluster(
        sources, config, case.node.name, state=str(folder / "none"), allow_empty=True
    )


def lowered(case: FlowCase, mode: str, folder: Path) -> kcompile.Compiled:
    """The case's rules in `mode`; see `cluster_of`."""
    cluster = cluster_of(case, folder)
    compiled = kcompile.compile(cluster, mode)
    return with_links(compiled, case) if mode == "xdp" else compiled


def with_links(compiled: kcompile.Compiled, case: FlowCase) -> kcompile.Compiled:
    """Rules of mode xdp for the interfaces that the case's packets come in and leave by."""
    names = dict.fromkeys(["eth0", _pods(case), *[flow.iif for flow in case.flows if flow.iif]])
    links = [
        Link(name="lo", loopback=True),
        *[Link(name=name, addresses=case.node.ips if name == "eth0" else ()) for name in names],
    ]
    dataplane = compiled.dataplane
    node = msgspec.structs.replace(dataplane.node, links=tuple(links))
    program = lower(msgspec.structs.replace(dataplane, node=node))
    return msgspec.structs.replace(compiled, program=program)


def _pods(case: FlowCase) -> str:
    """An interface that pods of the case's node send by."""
    detector = case.config.get("detectLocal") or {}
    return str(detector.get("bridgeInterface") or f"{detector.get('interfaceNamePrefix') or 'pod'}1")


def foretold(
    chains: Iterable[BaseChain], case: FlowCase, flow: Flow, program: Mapping[Key, Any] | None = None
) -> list[Ending]:
    """All ends of the first packet of `flow` on the case's node, which has a route to everywhere. `program`
    may give the node addresses and sets.
    """
    node = case.node
    host = host_with(program or {}, Host(addresses=frozenset(node.ips)))
    sender = _pods(case) if node.has_pod(flow.src) else "eth0"
    packet = Packet(
        source=flow.src,
        destination=flow.dst,
        protocol=flow.proto.lower(),
        port=flow.dport,
        source_port=flow.sport or 40000,
        iif="" if host.is_local(flow.src) else flow.iif or sender,
    )
    return travel(Rules(chains), host, packet)


def disagreement(endings: list[Ending], expect: Expect, node: Node) -> str:
    """How `endings` differ from what is expected; empty where they don't."""
    verdicts = {_verdict(ending) for ending in endings}
    if verdicts != {expect.verdict}:
        return f"{sorted(map(str, verdicts))} instead of {expect.verdict}: {endings}"
    if expect.verdict is not Verdict.DNAT:
        return ""
    backends = {_address(ending.packet) for ending in endings}
    if backends != expect.backends:
        return f"backends {sorted(backends)} instead of {sorted(expect.backends)}"
    # masquerading takes the node's first address: a flow from there looks the same
    first = [next((ip for ip in node.ips if (":" in ip) is six), "") for six in (False, True)]
    masqueraded = {
        ending.packet.masqueraded or (bool(expect.masq) and ending.packet.source in first)
        for ending in endings
    }
    if expect.masq is not None and masqueraded != {expect.masq}:
        return f"masqueraded: {masqueraded} instead of {expect.masq}"
    if sum(ending.weight for ending in endings) != 1:
        return "probabilities that don't add up to 1"
    return ""


def _verdict(ending: Ending) -> Verdict | str:
    if ending.end in (End.DELIVERED, End.SENT):
        return Verdict.DNAT if ending.packet.dnat or ending.packet.translated else Verdict.ACCEPT
    return _VERDICTS.get(ending.end, f"{ending.end}: {ending.reason}")


def _address(packet: Packet) -> str:
    return (
        f"[{packet.destination}]:{packet.port}"
        if packet.version == 6
        else f"{packet.destination}:{packet.port}"
    )
