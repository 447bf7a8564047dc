"""The cluster as its nodes see it: every object complete, in one file; and kcompile run for each node."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import KernelError
from ..files import write_whole
from ..notices import Notice
from ..spec.complete import complete
from ..spec.inventory import Inventory
from ..spec.objects import Object, Origin
from ..spec.state import AllocationState
from . import bpffs, spaces
from .manifests import Manifest, inventory_of
from .state import LabState, NodeState, PodState
from .system import range_options
from .workloads import origin_of, pod_manifest

__all__ = ["cluster", "node_manifest", "program", "publish"]

_READ = ("Service", "EndpointSlice", "Endpoints", "Namespace", "ServiceCIDR")
_VERSIONS = {"Service": "v1", "EndpointSlice": "discovery.k8s.io/v1", "Node": "v1", "Pod": "v1", "Namespace": "v1"}


def node_manifest(node: NodeState) -> dict[str, Any]:
    """`node` as an API server would show it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": node.labels},
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": node.pod_cidrs},
        "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in node.ips] + [{"type": "Hostname", "address": node.name}]},
    }


def cluster(state: LabState, pods: Iterable[PodState], allocations: AllocationState) -> tuple[Inventory, AllocationState]:
    """The objects of the lab, checked and complete, with `pods`; and what is allocated then. Raises SpecError."""
    manifests = [
        Manifest(key, stored.manifest, origin_of(stored)) for key, stored in state.objects.items() if key.partition("/")[0] in _READ
    ]
    manifests += [Manifest(f"Node//{node.name}", node_manifest(node), Origin()) for node in state.nodes]
    manifests += [Manifest(f"Pod/{pod.key}", pod_manifest(pod, state.node(pod.node)), Origin()) for pod in pods if pod.node]
    inventory = inventory_of(manifests)
    allocations = state.cluster.allocate(inventory.services, allocations, avoid=set(state.retired))
    complete(inventory)
    return inventory, allocations


def publish(state: LabState, directory: Path, pods: Iterable[PodState]) -> str:
    """Write cluster/cluster.json, which DNS follows, and cluster/config.json; a digest of all that the nodes are to do.

    Raises SpecError before anything is written.
    """
    path = directory / "allocations.json"
    inventory, allocations = cluster(state, pods, AllocationState.load(str(path)))
    allocations.save(str(path))
    objects = (
        *inventory.namespaces, *inventory.nodes, *inventory.services, *inventory.endpoint_slices, *inventory.pods
    )  # fmt: skip
    folder = directory / "cluster"
    folder.mkdir(exist_ok=True)
    config = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "detectLocalMode": "NodeCIDR"}
    texts = {
        "config.json": state.config or json.dumps(config, indent=1),
        "cluster.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": [_plain(each) for each in objects]}, indent=1),
    }
    for name, text in texts.items():
        _write(folder / name, text)
    return hashlib.sha256("\0".join([state.mode, *texts.values()]).encode()).hexdigest()


def _plain(obj: Object) -> dict[str, Any]:
    obj.origin = Origin()
    kind = type(obj).__name__
    return {"apiVersion": _VERSIONS[kind], "kind": kind, **msgspec.to_builtins(obj)}


def _write(path: Path, text: str) -> None:
    """Write `text` whole or not at all, and only where it is another than before."""
    if not path.exists() or path.read_text() != text:
        write_whole(path, text.encode())


def program(state: LabState, directory: Path, kcompile: Callable[[Sequence[str]], None]) -> list[Notice]:
    """``kcompile apply`` for every node, all at once; warnings, each once. Raises KernelError with what the first that failed said.

    `kcompile` runs a command line of kcompile's and ends with SystemExit; it is called in a process of its own for each node.
    """
    if state.mode == "xdp":
        bpffs.mount(directory)
    # a cgroup is no namespace: hooks on sockets would be those of the whole machine
    mode = ["--mode", state.mode, *(["--socket-lb", "off"] if state.mode == "xdp" else [])]

    def apply(words: Sequence[str]) -> None:
        os.environ["KCOMPILE_BPF_DIR"] = str(bpffs.folder(directory))
        kcompile(["apply", "--allow-empty", "--yes", *words])

    ranges = range_options(state.cluster)
    started = []
    for node in state.nodes:
        own = directory / "nodes" / node.name
        own.mkdir(parents=True, exist_ok=True)
        name = spaces.space(state.name, "node", node.name)
        files = ["-f", str(directory / "cluster/cluster.json"), "--config", str(directory / "cluster/config.json")]
        place = ["--node", node.name, "--netns", name, *mode, "--state", str(own / "allocations.json")]
        place += ranges
        output = (own / "apply.log").open("w+")
        started.append((node, output, spaces.fork(name, functools.partial(apply, [*files, *place]), output.fileno())))
    warnings: dict[Notice, None] = {}
    failed = ""
    for node, output, pid in started:
        _, status = os.waitpid(pid, 0)
        with output:
            output.seek(0)
            lines = [line for line in output.read().splitlines() if line.startswith("kcompile: ")]
        warnings |= dict.fromkeys(notice for line in lines if (notice := Notice.parse(line)))
        if status and not failed:
            said = "; ".join(line.removeprefix("kcompile: ") for line in lines if not Notice.parse(line))
            failed = f"{node.name}: kcompile apply: {said or f'ended with {os.waitstatus_to_exitcode(status)}'} ({output.name})"
    if failed:
        raise KernelError(failed)
    return list(warnings)
