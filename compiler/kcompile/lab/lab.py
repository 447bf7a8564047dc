"""A lab as a whole: what the verbs do.

Every change ends in `_settle`: processes, rules and DNS become what the objects say.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ..errors import ConfigError, InputError, KernelError, LockedError
from ..files import write_whole
from ..kernel.lock import locked
from ..kernel.netns import entered
from ..kernel.places import run_directory
from ..modes import MODES
from ..notices import Notice
from ..spec.addresses import family_of
from ..spec.cluster import ClusterSettings, settings_of
from ..spec.config import Config
from ..spec.objects import Node
from ..spec.state import AllocationState
from . import bpffs, network, spaces
from .manifests import Manifest, inventory_of, read_manifests, title
from .pods import Kubelet, Running, name_servers
from .publish import cluster, program, publish
from .state import LabState, NodeState, PodState, Stored, lab_directory
from .system import DNS, system_objects
from .workloads import changes, place, reported

__all__ = ["Caller", "Lab", "Options", "down"]

_READY = 120.0  # seconds for pods to become ready
_PATIENCE = 3  # times that a container may end at its start: others that it needs may be starting
_RETIRED = 4096
_OWN = "kcompile's own"  # where the manifests of kube-system come from


class Options(msgspec.Struct, kw_only=True):
    """What `up` is told beside the manifests.

    `settings`: of the cluster; `config`: the text of the file that they are from, for the nodes; `images`:
    more images, as images.yaml.
    """

    nodes: int = 2
    mode: str = "nftables"
    network: str = "routes"
    dual_stack: bool = False
    settings: Config = Config()
    config: str = ""
    images: dict[str, Any] = {}


class Caller(msgspec.Struct):
    """Who uses a lab: `say` is called with each change, `warn` with each warning."""

    say: Callable[[str], None]
    warn: Callable[[Notice], None]


class Lab:
    """An existing lab, locked."""

    def __init__(self, directory: Path, state: LabState, caller: Caller) -> None:
        self.directory, self.state, self.caller = directory, state, caller
        self.kubelet = Kubelet(state, directory)

    @classmethod
    @contextlib.contextmanager
    def open(cls, name: str, caller: Caller) -> Iterator[Lab]:
        """The lab `name`, for changes. Raises InputError where there is none."""
        directory = lab_directory(name)
        LabState.load(directory)  # before the lock makes the folder
        with _lock(directory):
            state = LabState.load(directory)
            if not state.wired or not spaces.of_lab(name):
                raise InputError(
                    f"lab {name} didn't come up, or is gone: kcompile lab down --name {name} removes what there is of it"
                )
            yield cls(directory, state, caller)

    # --- the verbs ---

    @classmethod
    def up(
        cls,
        name: str,
        paths: Sequence[str],
        options: Options,
        caller: Caller,
        stdin: BinaryIO | None = None,
    ) -> Lab:
        """Make the lab `name`. Bad input is refused before anything is made."""
        directory = lab_directory(name)
        _refuse_existing(name, directory)
        manifests, warnings = read_manifests(paths, stdin)
        cluster_wide = settings_of(options.settings, inventory_of(manifests).service_cidrs)
        cidrs = _service_cidrs(cluster_wide, options.dual_stack)
        dual_stack = len({family_of(cidr) for cidr in cidrs}) > 1
        state = LabState(
            name=name,
            mode=options.mode,
            network=options.network,
            domain=cluster_wide.domain,
            service_cidrs=cidrs,
            node_port_range=cluster_wide.node_port_range,
            created=time.time(),
            nodes=_nodes(manifests, options.nodes, dual_stack, cluster_wide.pod_cidrs),
            images=options.images,
            config=options.config,
        )
        lab = cls(directory, state, caller)
        system = system_objects(str(directory / "cluster"), state.cluster, name_servers(state))
        for manifest in system:
            metadata = manifest["metadata"]
            state.objects[f"{manifest['kind']}/{metadata['namespace']}/{metadata['name']}"] = Stored(
                manifest, _OWN
            )
        lab._take(manifests, warnings)
        with _lock(directory):
            _refuse_existing(name, directory)
            try:
                state.save(directory)
                lab._wire()
                lab._settle(only=DNS)  # pods may ask for names as soon as they start
                state.wired = True
                lab._settle()
            except BaseException as error:
                if not state.wired or not isinstance(
                    error, KernelError
                ):  # else there is a lab, which can be looked at and mended
                    _remove(name, directory)
                raise
        return lab

    def apply(
        self,
        paths: Sequence[str],
        mode: str | None = None,
        images: dict[str, Any] | None = None,
        stdin: BinaryIO | None = None,
    ) -> None:
        """Add or change objects, and say of each what kubectl would; change the mode; add images."""
        manifests, warnings = read_manifests(paths, stdin)
        if any(manifest.key.startswith("Node/") for manifest in manifests):
            warnings.append(
                Notice("lab", "the nodes of a lab are set when it comes up; the Node objects are left alone")
            )
        if mode:
            self._change_mode(mode)
        self.state.images |= images or {}
        self._take([manifest for manifest in manifests if not manifest.key.startswith("Node/")], warnings)
        self._settle()

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects with these keys. Raises InputError for one that isn't there."""
        for key in keys:
            kind, namespace, name = key.split("/")
            if key not in self.state.objects:
                raise InputError(
                    f"there is no {kind} {namespace + '/' if namespace else ''}{name} in lab {self.state.name}"
                )
            if self.state.objects[key].source == _OWN:
                raise InputError(f"{kind} {namespace}/{name} is the lab's own")
        given = AllocationState.load(str(self.directory / "allocations.json")).cluster_ips
        for key in keys:
            kind, _, name = key.partition("/")
            del self.state.objects[key]
            if kind == "Service":
                self.state.retired = [*self.state.retired, *given.get(name, ())][-_RETIRED:]
            self.caller.say(f"{title(key)} deleted")
        self._settle()

    def scale(self, key: str, replicas: int) -> None:
        """Give the Deployment `key` (``namespace/name``) another number of Pods."""
        stored = self.state.objects.get(f"Deployment/{key}")
        if stored is None:
            raise InputError(f"there is no Deployment {key} in lab {self.state.name}")
        stored.manifest["spec"]["replicas"] = replicas
        self._check()
        self.caller.say(f"deployment.apps/{key.partition('/')[2]} scaled")
        self._settle()

    def delete_pod(self, pod: PodState) -> None:
        """Remove a Pod; its Deployment makes another."""
        if not pod.owner:
            self.state.objects.pop(f"Pod/{pod.key}", None)
        pod.hash = ""  # made from no template that there is, so it is replaced
        self._check()
        self.caller.say(f"pod/{pod.name} deleted")
        self._settle()

    # --- how ---

    def _take(self, manifests: Sequence[Manifest], warnings: Sequence[Notice]) -> None:
        """Put `manifests` among the objects, checked as a whole; nothing has happened yet where one is
        refused.
        """
        before = dict(self.state.objects)
        own = {key for key, stored in before.items() if stored.source == _OWN}
        for manifest in manifests:
            if manifest.key in own:
                raise InputError(f"{title(manifest.key)} is the lab's own")
            if (
                manifest.key.startswith("Pod/")
                and manifest.key in before
                and before[manifest.key].manifest != manifest.value
            ):
                raise InputError(
                    f"{title(manifest.key)}: a Pod can't be changed: delete it first, or let a Deployment make it"
                )
            if not manifest.key.startswith("Node/"):
                self.state.objects[manifest.key] = Stored(
                    copy.deepcopy(manifest.value), manifest.origin.source, manifest.origin.document
                )
        for key in reported(self.state.objects):
            del self.state.objects[key]
        inventory_of(manifests)
        allocations = AllocationState.load(str(self.directory / "allocations.json"))
        cluster(self.state, self.state.pods, allocations)
        self._check()
        for notice in warnings:
            self.caller.warn(notice)
        for manifest in manifests:
            old, new = before.get(manifest.key), self.state.objects.get(manifest.key)
            if new is not None:
                verb = (
                    "created"
                    if old is None
                    else "unchanged"
                    if old.manifest == new.manifest
                    else "configured"
                )
                self.caller.say(f"{title(manifest.key)} {verb}")

    def _check(self) -> None:
        """Raise what starting the Pods that are to be made would raise, before anything is done or kept."""
        for pod in changes(self.state).make:
            self.kubelet.check(pod)

    def _wire(self) -> None:
        """Make the fabric, the nodes and the client."""
        state, name = self.state, self.state.name
        nodes = {node.name: spaces.space(name, "node", node.name) for node in state.nodes}
        fabric, client = spaces.space(name, "fabric"), spaces.space(name, "client")
        routes, families = state.network == "routes", 1 + state.dual_stack
        spaces.add([fabric, client, *nodes.values()])
        for each in (fabric, client, *nodes.values()):
            spaces.tune(each, {} if each == client else network.forwarding)
        spaces.batch(network.fabric_lines(state.nodes, nodes, client, routes, families), fabric)
        spaces.batch(network.client_lines(families), client)
        for node in state.nodes:
            spaces.batch(network.node_lines(node, state.nodes, routes), nodes[node.name])
            if not routes:
                spaces.batch(network.neighbour_lines(node, state.nodes), nodes[node.name], "bridge")

    def _settle(self, only: str = "") -> None:
        """Make everything what the objects say: Services, new Pods (of the Deployment `only`, where one is
        named), then the endpoints, and at the end the Pods that are too much go.
        """
        state = self.state
        make, remove = changes(state)
        self._announce(state.pods)
        for pod in make if not only else [pod for pod in make if pod.owner == only]:
            place(state, pod)
            state.pods.append(pod)
        keep = [pod for pod in state.pods if pod not in remove]
        state.save(self.directory)
        wired = [pod for pod in keep if self._sandbox(pod)]
        if wired and MODES[state.mode].sees_interfaces:
            # its programs are on interfaces, and a container may ask for a Service as soon as it starts
            self._program()
        late = self._wait([pod for pod in keep if self.kubelet.start(pod)])
        for pod in keep:
            pod.ready = self.kubelet.is_ready(pod)
        failing = {pod.owner for pod in keep if not pod.ready and not self.kubelet.has_finished(pod)}
        gone = [
            pod for pod in remove if not pod.owner or pod.owner not in failing
        ]  # of the others, what there was before goes on
        self._announce([pod for pod in state.pods if pod not in gone])
        if gone:
            self.kubelet.stop(gone)
            state.pods = [pod for pod in state.pods if pod not in gone]
        state.save(self.directory)
        if late:
            raise KernelError(self._why_late(late))

    def _change_mode(self, mode: str) -> None:
        """Give every node rules of `mode`, or leave all of it as it is."""
        before, self.state.mode = self.state.mode, mode
        try:
            self._announce(self.state.pods)
        except KernelError:
            self.state.mode = before
            raise
        self.state.save(self.directory)

    def _announce(self, pods: Sequence[PodState]) -> None:
        """Let DNS and every node know the Services, with `pods` behind them."""
        applied = self.directory / "applied"  # the digest of what every node has run
        digest = publish(self.state, self.directory, pods)
        if not applied.exists() or applied.read_text() != digest:
            self._program()
            write_whole(applied, digest.encode())

    def _program(self) -> None:
        """Have every node apply what has been announced."""
        for notice in program(self.state, self.directory):
            self.caller.warn(notice)

    def _sandbox(self, pod: PodState) -> bool:
        """The pod's network namespace, on its node's wire; whether it had to be made."""
        name = self.kubelet.space(pod)
        if pod.host_network or any(one != Running() for one in self.kubelet.told(pod)):
            return False
        spaces.remove([name])  # one that was left half made
        node, routes = self.state.node(pod.node), self.state.network == "routes"
        on_node = spaces.space(self.state.name, "node", node.name)
        with contextlib.suppress(KernelError):  # whose link on the node goes later than its namespace does
            spaces.batch([f"link del {pod.link}"], on_node)
        spaces.add([name])
        spaces.tune(name, {})
        spaces.batch(network.pod_node_lines(pod, node, name, routes), on_node)
        spaces.batch(network.pod_lines(pod), name)
        return True

    def _wait(self, pods: Sequence[PodState]) -> list[PodState]:
        """Wait for `pods` to be ready; those that aren't in time."""
        deadline = time.monotonic() + _READY
        while True:
            late = [
                pod for pod in pods if not self.kubelet.is_ready(pod) and not self.kubelet.has_finished(pod)
            ]
            if not late or time.monotonic() > deadline or any(self._hopeless(pod) for pod in late):
                return late
            time.sleep(0.05)

    def _hopeless(self, pod: PodState) -> bool:
        """Whether a container of `pod` has ended again and again, or for good."""
        told = self.kubelet.told(pod)
        return any(
            one.exit is not None and not one.pid and (one.restarts >= _PATIENCE or not one.keeper)
            for one in told
        )

    def _why_late(self, late: Sequence[PodState]) -> str:
        pod = late[0]
        lines: list[str] = []
        for each in self.kubelet.containers(pod):
            with contextlib.suppress(OSError):
                lines += self.kubelet.log(pod, each.name).read_text(errors="replace").splitlines()[-1:]
        others = f" (and {len(late) - 1} more)" if len(late) > 1 else ""
        said = f"; its log ends with: {lines[-1]}" if lines else ""
        return f"Pod {pod.key}{others} isn't ready{said} (kcompile lab logs {pod.name})"


def _refuse_existing(name: str, directory: Path) -> None:
    if (directory / "state.json").exists() or spaces.of_lab(name):
        raise InputError(
            f"lab {name} is up already: kcompile lab apply changes it, kcompile lab down removes it"
        )


def down(name: str) -> bool:
    """Remove lab `name`, whatever is there of it; whether there was anything."""
    directory = lab_directory(name)
    there = directory.exists() or bool(spaces.of_lab(name))
    if not there:
        return False
    with _lock(directory):
        _remove(name, directory)
    return True


def _remove(name: str, directory: Path) -> None:
    there = spaces.of_lab(name)
    spaces.ended(there)
    for space in there:  # before the namespaces, which say which run directories are theirs
        with contextlib.suppress(KernelError), entered(space):  # one that was left half made has none
            shutil.rmtree(run_directory(), ignore_errors=True)
    spaces.remove(there)
    bpffs.unmount(directory)
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory))
        except LockedError:
            raise LockedError(
                f"another kcompile lab is at work on {directory.name.removeprefix('lab-')}"
            ) from None
        except PermissionError as error:
            raise InputError(f"{error.filename}: {error.strerror} (a lab needs root)") from None
        yield


def _service_cidrs(cluster_wide: ClusterSettings, dual_stack: bool) -> list[str]:
    cidrs = list(cluster_wide.service_cidrs) or ["10.96.0.0/12", "fd00:10:96::/112"][: 1 + dual_stack]
    if dual_stack and len({family_of(cidr) for cidr in cidrs}) == 1:
        raise ConfigError(f"--service-cluster-ip-range {cidrs[0]}: --dual-stack needs a range of each family")
    if family_of(cidrs[0]) != 4:
        raise ConfigError(f"--service-cluster-ip-range {cidrs[0]}: the first one must be IPv4")
    if small := next((cidr for cidr in cidrs if ip_network(cidr).num_addresses < 16), ""):
        raise ConfigError(f"--service-cluster-ip-range {small}: too small: a lab needs 16 addresses")
    return cidrs


def _nodes(
    manifests: Sequence[Manifest], count: int, dual_stack: bool, pod_cidrs: Sequence[str]
) -> list[NodeState]:
    """The nodes: those of the manifests, with the addresses and pod CIDRs that these give, or `count` of the
    lab's own.

    Other pod CIDRs are parts of `pod_cidrs`, the cluster's, where it has any.
    """
    given: list[Node] = inventory_of([m for m in manifests if m.key.startswith("Node/")]).nodes
    nodes = network.default_nodes(len(given) or count, dual_stack, pod_cidrs)
    families = (4, 6)[: 1 + dual_stack]
    for state, node in zip(nodes, given, strict=False):
        state.name = node.metadata.name
        state.labels = {"kubernetes.io/hostname": state.name} | (node.metadata.labels or {})
        addresses = [
            a.address
            for a in (node.status.addresses if node.status else None) or ()
            if a.type == "InternalIP"
        ]
        cidrs = (
            (node.spec.pod_cidrs or ([node.spec.pod_cidr] if node.spec.pod_cidr else []))
            if node.spec
            else None
        ) or []
        state.ips = [
            next((a for a in addresses if family_of(a) == f), own)
            for f, own in zip(families, state.ips, strict=True)
        ]
        state.pod_cidrs = [
            next((c for c in cidrs if family_of(c) == f), own)
            for f, own in zip(families, state.pod_cidrs, strict=True)
        ]
    for what, every in (
        ("InternalIP", [ip for n in nodes for ip in n.ips]),
        ("podCIDR", [c for n in nodes for c in n.pod_cidrs]),
    ):
        if twice := next((one for one in every if every.count(one) > 1), ""):
            raise ConfigError(f"two nodes have the {what} {twice}")
    return nodes
