"""The verbs of a lab: up, apply, delete, scale. Each changes the objects, then reconciles (reconcile.py)."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ..errors import InputError, KernelError
from ..notices import Notice
from ..spec.addresses import family_of
from ..spec.cluster import settings_of
from ..spec.config import Config
from ..spec.state import AllocationState
from . import netns
from .lifecycle import down, lock, refuse_existing, remove
from .manifests import Manifest, inventory_of, read_manifests, title
from .nodes import new_nodes, service_cidrs
from .pods import Kubelet, name_servers
from .publish import cluster
from .reconcile import Reconciler
from .state import LabState, PodState, Stored, lab_directory
from .system import DNS, system_objects
from .workloads import changes, reported

__all__ = ["Caller", "Lab", "Options", "down"]

_RETIRED = 4096  # clusterIPs of removed Services that are remembered
_OWN = "kcompile's own"  # the source of the manifests of kube-system


class Options(msgspec.Struct, kw_only=True):
    """Options of `up`.

    `settings`: of the cluster; `config`: the text of the file that they are from, for the nodes; `images`:
    more images, as images.yaml has them.
    """

    nodes: int = 2
    mode: str = "nftables"
    network: str = "routes"
    dual_stack: bool = False
    settings: Config = Config()
    config: str = ""
    images: dict[str, Any] = {}


class Caller(msgspec.Struct):
    """Callbacks: `say` is called with a line for each change, `warn` with each warning."""

    say: Callable[[str], None]
    warn: Callable[[Notice], None]


class Lab:
    """An existing lab, locked."""

    def __init__(self, directory: Path, state: LabState, caller: Caller) -> None:
        self.directory, self.state, self.caller = directory, state, caller
        self.kubelet = Kubelet(state, directory)
        self._reconciler = Reconciler(state, directory, self.kubelet, caller.warn)

    @classmethod
    @contextlib.contextmanager
    def open(cls, name: str, caller: Caller) -> Iterator[Lab]:
        """Lock the lab `name` for changes. Raises InputError where it doesn't exist."""
        directory = lab_directory(name)
        LabState.load(directory)  # before the lock makes the folder
        with lock(directory):
            state = LabState.load(directory)
            if not state.wired or not netns.of_lab(name):
                problem = f"lab {name} didn't come up, or is gone"
                raise InputError(f"{problem}: kcompile lab down --name {name} removes what there is of it")
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
        """Make the lab `name`. Raises InputError and others for bad input before anything is made."""
        directory = lab_directory(name)
        refuse_existing(name, directory)
        manifests, warnings = read_manifests(paths, stdin)
        cluster_wide = settings_of(options.settings, inventory_of(manifests).service_cidrs)
        cidrs = service_cidrs(cluster_wide, options.dual_stack)
        dual_stack = len({family_of(cidr) for cidr in cidrs}) > 1
        state = LabState(
            name=name,
            mode=options.mode,
            network=options.network,
            domain=cluster_wide.domain,
            service_cidrs=cidrs,
            node_port_range=cluster_wide.node_port_range,
            created=time.time(),
            nodes=new_nodes(manifests, options.nodes, dual_stack, cluster_wide.pod_cidrs),
            images=options.images,
            config=options.config,
        )
        lab = cls(directory, state, caller)
        lab._add_system_objects()
        lab._take(manifests, warnings)
        with lock(directory):
            refuse_existing(name, directory)
            lab._start()
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
        others = [manifest for manifest in manifests if not manifest.key.startswith("Node/")]
        if len(others) < len(manifests):
            message = "the nodes of a lab are set when it comes up; the Node objects are left alone"
            warnings.append(Notice("lab", message))
        if mode:
            self._reconciler.change_mode(mode)
        self.state.images |= images or {}
        self._take(others, warnings)
        self._reconciler.reconcile()

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects with these keys. Raises InputError for one that doesn't exist."""
        for key in keys:
            kind, namespace, name = key.split("/")
            if key not in self.state.objects:
                full_name = f"{namespace}/{name}" if namespace else name
                raise InputError(f"there is no {kind} {full_name} in lab {self.state.name}")
            if self.state.objects[key].source == _OWN:
                raise InputError(f"{kind} {namespace}/{name} is the lab's own")
        given = AllocationState.load(str(self.directory / "allocations.json")).cluster_ips
        for key in keys:
            kind, _, name = key.partition("/")
            del self.state.objects[key]
            if kind == "Service":
                self.state.retired = [*self.state.retired, *given.get(name, ())][-_RETIRED:]
            self.caller.say(f"{title(key)} deleted")
        self._reconciler.reconcile()

    def scale(self, key: str, replicas: int) -> None:
        """Change the number of Pods of the Deployment `key` (``namespace/name``). Raises InputError."""
        stored = self.state.objects.get(f"Deployment/{key}")
        if stored is None:
            raise InputError(f"there is no Deployment {key} in lab {self.state.name}")
        stored.manifest["spec"]["replicas"] = replicas
        self._check()
        self.caller.say(f"deployment.apps/{key.partition('/')[2]} scaled")
        self._reconciler.reconcile()

    def delete_pod(self, pod: PodState) -> None:
        """Remove a Pod; its Deployment, if any, replaces it."""
        if not pod.owner:
            self.state.objects.pop(f"Pod/{pod.key}", None)
        pod.hash = ""  # no template has this hash, so the Pod is surplus
        self._check()
        self.caller.say(f"pod/{pod.name} deleted")
        self._reconciler.reconcile()

    # --- steps ---

    def _add_system_objects(self) -> None:
        published = str(self.directory / "cluster")
        for manifest in system_objects(published, self.state.cluster, name_servers(self.state)):
            metadata = manifest["metadata"]
            key = f"{manifest['kind']}/{metadata['namespace']}/{metadata['name']}"
            self.state.objects[key] = Stored(manifest, _OWN)

    def _start(self) -> None:
        """Make the network, then DNS, then the Pods.

        If Pods don't become ready, the lab stays: the user can look at it and fix it. After any other error
        it is removed.
        """
        state = self.state
        try:
            state.save(self.directory)
            self._reconciler.wire()
            self._reconciler.reconcile(only=DNS)  # pods may ask for names as soon as they start
            state.wired = True
            self._reconciler.reconcile()
        except BaseException as error:
            repairable = state.wired and isinstance(error, KernelError)
            if not repairable:
                remove(state.name, self.directory)
            raise

    def _take(self, manifests: Sequence[Manifest], warnings: Sequence[Notice]) -> None:
        """Add `manifests` to the objects, check them together, and report each.

        Raises InputError, SpecError or ConfigError where one is refused; the kernel is untouched then.
        """
        before = dict(self.state.objects)
        for manifest in manifests:
            self._refuse_change(manifest, before.get(manifest.key))
            if not manifest.key.startswith("Node/"):
                origin = manifest.origin
                stored = Stored(copy.deepcopy(manifest.value), origin.source, origin.document)
                self.state.objects[manifest.key] = stored
        for key in reported(self.state.objects):
            del self.state.objects[key]
        inventory_of(manifests)
        allocations = AllocationState.load(str(self.directory / "allocations.json"))
        cluster(self.state, self.state.pods, allocations)
        self._check()
        for notice in warnings:
            self.caller.warn(notice)
        for manifest in manifests:
            new = self.state.objects.get(manifest.key)
            if new is not None:
                self.caller.say(f"{title(manifest.key)} {_verb(before.get(manifest.key), new)}")

    def _refuse_change(self, manifest: Manifest, old: Stored | None) -> None:
        """Raise InputError where `manifest` can't replace `old`."""
        if old is None:
            return
        if old.source == _OWN:
            raise InputError(f"{title(manifest.key)} is the lab's own")
        if manifest.key.startswith("Pod/") and old.manifest != manifest.value:
            problem = "a Pod can't be changed: delete it first, or let a Deployment make it"
            raise InputError(f"{title(manifest.key)}: {problem}")

    def _check(self) -> None:
        """Raise what starting the missing Pods would raise, before anything is done or kept."""
        for pod in changes(self.state).make:
            self.kubelet.check(pod)


def _verb(old: Stored | None, new: Stored) -> str:
    """As kubectl apply puts it."""
    if old is None:
        return "created"
    return "unchanged" if old.manifest == new.manifest else "configured"
