"""Makes processes, rules and DNS of a lab what its objects say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import KernelError
from ..files import write_whole
from ..modes import MODES
from ..notices import Notice
from . import netns, network
from .pods import ContainerStatus, Kubelet
from .publish import program, publish
from .state import LabState, PodState
from .workloads import changes, schedule

__all__ = ["Reconciler"]

_READY = 120.0  # seconds for pods to become ready
_MAX_RESTARTS = 3  # of a container that ends at its start: others that it needs may be starting


class Reconciler:
    """Reconciles the lab `state`, kept in `directory`. `warn` is called with each warning."""

    def __init__(
        self, state: LabState, directory: Path, kubelet: Kubelet, warn: Callable[[Notice], None]
    ) -> None:
        self.state, self.directory, self.kubelet, self.warn = state, directory, kubelet, warn

    def wire(self) -> None:
        """Make the network namespaces of fabric, nodes and client, and the links between them."""
        state, name = self.state, self.state.name
        nodes = {node.name: netns.netns_name(name, "node", node.name) for node in state.nodes}
        fabric, client = netns.netns_name(name, "fabric"), netns.netns_name(name, "client")
        routes, families = state.network == "routes", 1 + state.dual_stack
        netns.add([fabric, client, *nodes.values()])
        for each in (fabric, client, *nodes.values()):
            netns.tune(each, {} if each == client else network.forwarding)
        netns.batch(network.fabric_lines(state.nodes, nodes, client, routes, families), fabric)
        netns.batch(network.client_lines(families), client)
        for node in state.nodes:
            netns.batch(network.node_lines(node, state.nodes, routes), nodes[node.name])
            if not routes:
                netns.batch(network.neighbour_lines(node, state.nodes), nodes[node.name], "bridge")

    def reconcile(self, only: str = "") -> None:
        """Publish Services, start missing Pods, publish their endpoints, then stop surplus Pods.

        `only`: start the Pods of this Deployment alone (``namespace/name``). Raises KernelError where Pods
        aren't ready in time; the lab is left as far as it came.
        """
        state = self.state
        missing, surplus = changes(state)
        self._publish(state.pods)
        for pod in missing:
            if not only or pod.owner == only:
                schedule(state, pod)
                state.pods.append(pod)
        wanted = [pod for pod in state.pods if pod not in surplus]
        state.save(self.directory)
        late = self._start(wanted)
        removed = self._replaced(surplus, wanted)
        left = [pod for pod in state.pods if pod not in removed]
        self._publish(left)
        if removed:
            self.kubelet.stop(removed)
            state.pods = left
        state.save(self.directory)
        if late:
            raise KernelError(self._why_late(late))

    def change_mode(self, mode: str) -> None:
        """Give every node rules of `mode`. Raises KernelError; the lab then keeps its mode."""
        before, self.state.mode = self.state.mode, mode
        try:
            self._publish(self.state.pods)
        except KernelError:
            self.state.mode = before
            raise
        self.state.save(self.directory)

    def _publish(self, pods: Sequence[PodState]) -> None:
        """Publish the Services to DNS and to every node, with `pods` as their endpoints."""
        applied = self.directory / "applied"  # the digest of what every node has run
        digest = publish(self.state, self.directory, pods)
        if not applied.exists() or applied.read_text() != digest:
            self._program()
            write_whole(applied, digest.encode())

    def _program(self) -> None:
        """Apply on every node what has been published."""
        for notice in program(self.state, self.directory):
            self.warn(notice)

    def _start(self, pods: Sequence[PodState]) -> list[PodState]:
        """Start the containers of `pods` that don't run; returns the Pods that aren't ready in time."""
        wired = [pod for pod in pods if self._make_netns(pod)]
        if wired and MODES[self.state.mode].sees_interfaces:
            # its programs are on interfaces, and a container may ask for a Service as soon as it starts
            self._program()
        late = self._wait([pod for pod in pods if self.kubelet.start(pod)])
        for pod in pods:
            pod.ready = self.kubelet.is_ready(pod)
        return late

    def _make_netns(self, pod: PodState) -> bool:
        """Make the pod's network namespace and its link to the node; False where that exists already."""
        if pod.host_network or any(each != ContainerStatus() for each in self.kubelet.statuses(pod)):
            return False
        name = self.kubelet.netns_of(pod)
        netns.remove([name])  # one that was left half made
        node, routes = self.state.node(pod.node), self.state.network == "routes"
        on_node = netns.netns_name(self.state.name, "node", node.name)
        with contextlib.suppress(KernelError):  # the kernel removes a namespace's links later than its name
            netns.batch([f"link del {pod.link}"], on_node)
        netns.add([name])
        netns.tune(name, {})
        netns.batch(network.pod_node_lines(pod.link, pod.ips, node, name, routes), on_node)
        netns.batch(network.pod_lines(pod.ips), name)
        return True

    def _replaced(self, surplus: Iterable[PodState], wanted: Iterable[PodState]) -> list[PodState]:
        """Those of `surplus` that can go: a Deployment whose new Pods fail keeps its old ones."""
        failing = {pod.owner for pod in wanted if not pod.ready and not self.kubelet.has_finished(pod)}
        return [pod for pod in surplus if not pod.owner or pod.owner not in failing]

    def _wait(self, pods: Sequence[PodState]) -> list[PodState]:
        """Wait until `pods` are ready or have finished; returns those that aren't in time."""
        deadline = time.monotonic() + _READY
        while True:
            late = [pod for pod in pods if not self._is_done(pod)]
            if not late or time.monotonic() > deadline or any(self._has_failed(pod) for pod in late):
                return late
            time.sleep(0.05)

    def _is_done(self, pod: PodState) -> bool:
        return self.kubelet.is_ready(pod) or self.kubelet.has_finished(pod)

    def _has_failed(self, pod: PodState) -> bool:
        """True if a container of `pod` has ended and isn't started again, or has been too often."""
        for each in self.kubelet.statuses(pod):
            has_ended = each.exit is not None and not each.pid
            if has_ended and (each.restarts >= _MAX_RESTARTS or not each.keeper):
                return True
        return False

    def _why_late(self, late: Sequence[PodState]) -> str:
        pod = late[0]
        lines: list[str] = []
        for each in self.kubelet.containers(pod):
            with contextlib.suppress(OSError):
                lines += self.kubelet.log(pod, each.name).read_text(errors="replace").splitlines()[-1:]
        others = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
        said = f"; its log ends with: {lines[-1]}" if lines else ""
        return f"Pod {pod.key}{others} isn't ready{said} (kcompile lab logs {pod.name})"
