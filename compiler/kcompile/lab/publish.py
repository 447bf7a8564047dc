"""The cluster as its nodes see it: every object complete, in one file; and its rules on each node."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..engine.apply import prepare
from ..engine.read import read_input
from ..engine.request import Request
from ..engine.session import at_node
from ..errors import KcompileError, KernelError
from ..files import write_whole
from ..kernel.child import Child
from ..modes import MODES
from ..notices import Notice
from ..spec.complete import complete
from ..spec.inventory import Inventory
from ..spec.objects import Object, Origin
from ..spec.state import AllocationState
from . import bpffs, netns
from .manifests import Manifest, inventory_of
from .netns import die_with_parent
from .state import LabState, NodeState, PodState
from .workloads import origin_of, pod_manifest

__all__ = ["cluster", "node_manifest", "program", "publish"]

_READ = ("Service", "EndpointSlice", "Endpoints", "Namespace", "ServiceCIDR")
_VERSIONS = {
    "Service": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Node": "v1",
    "Pod": "v1",
    "Namespace": "v1",
}


def node_manifest(node: NodeState) -> dict[str, Any]:
    """`node` as an API server would show it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": node.labels},
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": node.pod_cidrs},
        "status": {
            "addresses": [{"type": "InternalIP", "address": ip} for ip in node.ips]
            + [{"type": "Hostname", "address": node.name}]
        },
    }


def cluster(
    state: LabState, pods: Iterable[PodState], allocations: AllocationState
) -> tuple[Inventory, AllocationState]:
    """The objects of the lab, checked and complete, with `pods`; and the new allocations.

    Raises SpecError.
    """
    manifests = [
        Manifest(key, stored.manifest, origin_of(stored))
        for key, stored in state.objects.items()
        if key.partition("/")[0] in _READ
    ]
    manifests += [Manifest(f"Node//{node.name}", node_manifest(node), Origin()) for node in state.nodes]
    manifests += [
        Manifest(f"Pod/{pod.key}", pod_manifest(pod, state.node(pod.node)), Origin())
        for pod in pods
        if pod.node
    ]
    inventory = inventory_of(manifests)
    allocations = state.cluster.allocate(inventory.services, allocations, avoid=set(state.retired))
    complete(inventory)
    return inventory, allocations


def publish(state: LabState, directory: Path, pods: Iterable[PodState]) -> str:
    """Write cluster/cluster.json, which DNS follows, and cluster/config.json.

    Returns a digest of both and of the mode. Raises SpecError before anything is written.
    """
    path = directory / "allocations.json"
    inventory, allocations = cluster(state, pods, AllocationState.load(str(path)))
    allocations.save(str(path))
    objects: list[Object] = [*inventory.namespaces, *inventory.nodes, *inventory.services]
    objects += [*inventory.endpoint_slices, *inventory.pods]
    folder = directory / "cluster"
    folder.mkdir(exist_ok=True)
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "detectLocalMode": "NodeCIDR",
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [_plain(each) for each in objects]}
    texts = {
        "config.json": state.config or json.dumps(config, indent=1),
        "cluster.json": json.dumps(items, indent=1),
    }
    for name, text in texts.items():
        _write(folder / name, text)
    return hashlib.sha256("\0".join([state.mode, *texts.values()]).encode()).hexdigest()


def _plain(obj: Object) -> dict[str, Any]:
    """`obj` as an API server would write it."""
    kind = type(obj).__name__
    return {"apiVersion": _VERSIONS[kind], "kind": kind, **obj.fields()}


def _write(path: Path, text: str) -> None:
    """Write `text` atomically if the file holds another."""
    if not path.exists() or path.read_text() != text:
        write_whole(path, text.encode())


def program(state: LabState, directory: Path) -> list[Notice]:
    """Program every node, in parallel; returns the warnings, each once.

    Raises KcompileError: that of the first node that failed.
    """
    sees_interfaces = MODES[state.mode].sees_interfaces
    if sees_interfaces:
        bpffs.mount(directory)
    pins = bpffs.folder(directory) if sees_interfaces else None
    started: list[tuple[NodeState, Child[tuple[Notice, ...]]]] = []
    for node in state.nodes:
        request = _request(state, directory, node)
        started.append((node, Child(partial(_apply, request, pins), die_with_parent)))
    warnings: dict[Notice, None] = {}
    failed: KcompileError | None = None
    for node, child in started:
        try:
            warnings |= dict.fromkeys(child.result(_died))
        except KcompileError as error:
            failed = failed or KernelError(f"{node.name}: {error}")
    if failed:
        raise failed
    return list(warnings)


def _died(status: int) -> KernelError:
    return KernelError(f"its process died (status {status})")


def _request(state: LabState, directory: Path, node: NodeState) -> Request:
    """The apply of one node: the objects of the whole cluster, seen from `node`."""
    low, high = state.cluster.node_port_range
    own = directory / "nodes" / node.name
    own.mkdir(parents=True, exist_ok=True)
    return Request(
        files=(str(directory / "cluster/cluster.json"),),
        config=str(directory / "cluster/config.json"),
        mode=state.mode,
        # a cgroup is no namespace: hooks on sockets would be those of the whole machine
        socket_lb="off" if MODES[state.mode].sees_interfaces else None,
        node=node.name,
        netns=netns.netns_name(state.name, "node", node.name),
        state=str(own / "allocations.json"),
        service_cidrs=",".join(state.cluster.service_cidrs),
        node_port_range=f"{low}-{high}",
        allow_empty=True,
    )


def _apply(request: Request, pins: Path | None) -> tuple[Notice, ...]:
    """Carry out `request`, in a process of its own; returns warnings.

    `pins`: the bpffs of the lab, for a mode that has one.
    """
    if pins is not None:
        os.environ["KCOMPILE_BPF_DIR"] = str(pins)
    given = read_input(request)
    with at_node(request) as run_directory:
        ready = prepare(request, given, run_directory)
        return (*ready.plan.warnings, *ready.finish(run_directory))
