"""A flow case's topology with its listeners and taps in place, ready for probes."""

from __future__ import annotations

import contextlib
from typing import Any, Self

from .flowcase import Flow, FlowCase
from .listeners import Listeners
from .loop import Loop
from .packets import split
from .probes import Outcome, Probe
from .taps import Taps
from .topology import Topology

__all__ = ["Lab"]


class Lab(contextlib.ExitStack):
    """Everything that the flows of `case` need, a context manager.

    Every endpoint has a listener, and so has every flow's destination where it would land untouched: a pod,
    the node, or the world behind its uplink. So whatever the rules do with a packet, somebody answers, unless
    it is dropped or rejected.
    """

    def __init__(self, case: FlowCase) -> None:
        super().__init__()
        self.case = case
        detector: dict[str, Any] = case.config.get("detectLocal") or {}
        prefix = detector.get("interfaceNamePrefix") or case.config.get("interfaceNamePrefix") or "pod"
        bridge = detector.get("bridgeInterface") or case.config.get("bridgeInterface") or ""
        self._pod_interfaces = (bridge or prefix,)
        self._homes = self._place()
        pods = (ip for ip, home in self._homes.items() if home == "pod")
        self.topology = Topology(case.node.ips, pods, pod_interface=prefix, bridge=bridge)
        self.loop = Loop()
        self.listeners = Listeners(self.loop)
        self.taps = Taps(self.loop)
        self._probe = Probe(self.loop, self.taps)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.enter_context(self.topology)
            self.enter_context(self.loop)
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def probe(self, flow: Flow, timeout: float = 3.0) -> Outcome:
        """One connection of `flow`."""
        source = self.topology.home(flow.src)
        return self._probe(
            source, flow.src, flow.dst, flow.dport, flow.proto, sport=flow.sport, timeout=timeout
        )

    @property
    def backends(self) -> int:
        """How many endpoints a wrong rule could choose from."""
        return len({(ip, port) for ip, port, _, _ in self.case.endpoints()})

    def _place(self) -> dict[str, str]:
        """Where each address of the case lives: ``pod``, ``node`` or ``world``; an endpoint's node name wins
        over its address.
        """
        node, homes = self.case.node, dict[str, str]()

        def put(ip: str, home: str = "") -> None:
            if ip in node.ips:
                home = "node"
            homes.setdefault(ip, home or ("pod" if node.has_pod(ip) else "world"))

        for flow in self.case.flows:
            if flow.iif and flow.iif != "lo":
                put(flow.src, "pod" if flow.iif.startswith(self._pod_interfaces) else "world")
        for ip, _, _, name in self.case.endpoints():
            put(ip, ("pod" if name == node.name else "world") if name else "")
        for flow in self.case.flows:
            put(flow.src)
            put(flow.dst)
            for expect in flow.expects.values():
                for backend in expect.backends:
                    put(split(backend)[0])
        return homes

    def _open(self) -> None:
        topology = self.topology
        for name in (topology.world, *topology.pods.values()):
            self.taps.open(name, topology.place(name))
        self.taps.open(topology.node, "the node", "lo", arrivals=False)
        wanted = {(ip, port, proto) for ip, port, proto, _ in self.case.endpoints()}
        wanted |= {
            (*split(backend), flow.proto)
            for flow in self.case.flows
            for expect in flow.expects.values()
            for backend in expect.backends
        }
        served = {(flow.dst, flow.dport, flow.proto) for flow in self.case.flows if flow.status}
        wanted |= {(flow.dst, flow.dport, flow.proto) for flow in self.case.flows} - served
        for ip, port, proto in sorted(wanted):
            self.listeners.open(topology.home(ip), ip, port, proto)
