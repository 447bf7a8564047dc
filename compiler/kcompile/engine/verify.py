"""Whether rules do what the manifests say: packet by packet, in every mode, or in the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ..modes import MODES
from ..trace.journey import Rules, travel
from ..trace.lowered import base_chains, host_with
from ..trace.packet import Host
from .compile import Compiled, compile_cluster
from .expected import Outcome, Probe, outcome_of, probes
from .request import Request
from .trace import with_links

__all__ = ["Difference", "Report", "verify_live", "verify_modes"]


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """One packet that is treated otherwise than the manifests say. `where`: a mode, or ``live``.

    `kind`: ``missing`` (the rules don't touch it), ``wrong``, ``unknown`` (the model has no answer) or
    ``stale`` (the rules serve what no manifest has).
    """

    kind: str
    service: str
    frontend: str
    client: str
    where: str
    expected: str
    found: str


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """How many packets were traced, and those that differ; `unread`: what couldn't be read, and why."""

    packets: int
    differences: tuple[Difference, ...]
    unread: tuple[str, ...] = ()


def verify_modes(compiled: Compiled, request: Request) -> Report:
    """Trace a packet from each kind of client to each frontend through the rules of every mode.

    All modes follow the kube-proxy mode that the request names, or nftables where it names none.
    """
    same = msgspec.structs.replace(request, compat=request.compat or "nftables")
    found: list[Difference] = []
    count = 0
    for mode in (name for name in MODES if f"{name}-nft" not in MODES):
        config = msgspec.structs.replace(compiled.cluster.config, mode=mode)
        of_mode = compile_cluster(msgspec.structs.replace(compiled.cluster, config=config), same)
        dataplane = with_links(of_mode)
        program = of_mode.mode.target().lower(dataplane)
        node = dataplane.node
        host = host_with(program, Host(addresses=frozenset({*node.addresses, *node.interfaces})))
        asked = list(probes(dataplane))
        count += len(asked)
        found += _differences(asked, Rules(base_chains(program)), host, mode)
    return Report(count, tuple(found))


def _differences(asked: Iterable[Probe], rules: Rules, host: Host, where: str) -> list[Difference]:
    found = []
    for probe in asked:
        outcome = outcome_of(travel(rules, host, probe.packet))
        if outcome != probe.expected:
            found.append(_difference(probe, outcome, where))
    return found


def _difference(probe: Probe, outcome: Outcome, where: str) -> Difference:
    kind = "wrong"
    if outcome.verdict.startswith("unknown"):
        kind = "unknown"
    elif outcome.verdict == "pass":
        kind = "missing"
    return Difference(
        kind, probe.service, probe.frontend, probe.client, where, str(probe.expected), str(outcome)
    )


def verify_live(compiled: Compiled, directory: Path, owner: str) -> Report:
    """Trace the same packets through all rules of the current network namespace, whoever wrote them, and
    compare its frontends with the manifests'.

    :param directory: the namespace's run directory
    :param owner: whose frontends may be stale: ``kcompile`` or ``kube-proxy``
    """
    from ..kernel.rules import live_node

    rules, host, unread = live_node(directory)
    asked = [_by_route(probe, host) for probe in probes(compiled.dataplane)]
    found = _differences(asked, rules, host, "live")
    return Report(len(asked), (*found, *_stale(compiled, directory, owner)), tuple(unread))


def _by_route(probe: Probe, host: Host) -> Probe:
    """The probe as it comes in on this node: by the interface that leads to its source."""
    if not probe.packet.iif:
        return probe
    iif = host.route(probe.packet.source) or probe.packet.iif
    return probe._replace(packet=probe.packet.changed(iif=iif))


def _stale(compiled: Compiled, directory: Path, owner: str) -> Sequence[Difference]:
    """Frontends in the kernel that no manifest has."""
    from ..kernel.drivers import installed
    from ..kernel.kubeproxy.found import KubeProxy
    from ..kernel.kubeproxy.frontends import ANY, Frontend

    wanted = {
        Frontend(port.family.value, port.protocol.lower, frontend.address or ANY, frontend.port)
        for port in compiled.dataplane.ports
        for frontend in port.frontends
    }
    names: dict[Frontend, str] = {}
    if owner == "kube-proxy":
        held = KubeProxy.found().frontends()
    else:
        views = [view for one in installed("", directory) for view in one.driver.target.frontends(one.held)]
        names = {Frontend(v.family, v.protocol.lower(), v.address, v.port): v.service for v in views}
        held = set(names)
    return [
        Difference("stale", names.get(frontend, ""), str(frontend), "", "live", "no such frontend", "served")
        for frontend in sorted(held - wanted)
    ]
