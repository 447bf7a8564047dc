"""One pod on its node, from the moment it is scheduled to its removal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...apiserver import StatusError
from ...errors import KcompileError
from .. import images, netns
from ..client import Client, Obj
from ..settings import LabSettings, NodeSettings
from .cgroups import Cgroups, limits
from .container import ContainerWorker
from .environment import CreateError, Facts, service_variables
from .podfiles import hostname, pod_files
from .runtime import Runtime
from .sandbox import Sandbox, Sandboxes
from .specs import container_spec, is_sidecar
from .status import PodState, pod_status
from .volumes import Account, Volumes

__all__ = ["Lab", "PodWorker"]

_SET_UP_AGAIN = 1.0  # seconds until what failed is tried again
_DEFAULT_GRACE = 30
_RULES_FIRST = 0.2  # seconds for the nodes to send a deleted pod no more connections, before its signal
_log = logging.getLogger(__name__)


@dataclass
class Lab:
    """What all pods of a lab share. `account_folder`: ``ca.crt`` and ``token`` for service accounts."""

    client: Client
    settings: LabSettings
    directory: Path
    runtime: Runtime
    sandboxes: Sandboxes
    cgroups: Cgroups
    host_resolv_conf: str

    def account(self) -> Account | None:
        """What pods speak to the API server with; None where the lab has no server for pods."""
        folder = self.directory / "account"
        with contextlib.suppress(OSError):
            return Account((folder / "token").read_bytes(), (folder / "ca.crt").read_bytes())
        return None


class PodWorker:
    """Runs `pod` on `node`."""

    def __init__(self, lab: Lab, node: NodeSettings, pod: Obj) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        self.lab, self.node, self.pod = lab, node, pod
        self.namespace, self.name, self.uid = meta["namespace"], meta["name"], str(meta.get("uid") or "")
        self.runtime, self.cgroups = lab.runtime, lab.cgroups
        self.folder = lab.directory / "pods" / f"{self.namespace}.{self.name}.{self.uid}"
        self.node_netns = netns.netns_name(lab.settings.name, "node", node.name)
        self.sandbox: Sandbox | None = None
        self.grace = float(_or(spec.get("terminationGracePeriodSeconds"), _DEFAULT_GRACE))
        policy = spec.get("restartPolicy") or "Always"
        of_init = "Never" if policy == "Never" else "OnFailure"
        self.init = [
            ContainerWorker(self, each, "Always" if is_sidecar(each) else of_init, init=True)
            for each in spec.get("initContainers") or ()
        ]
        self.containers = [ContainerWorker(self, each, policy) for each in spec["containers"]]
        self.state = PodState(time.time(), host_ips=node.ips)
        self.state.init = [each.state for each in self.init]
        self.state.containers = [each.state for each in self.containers]
        if self.init:
            for state in (*self.state.init, *self.state.containers):
                state.state = {"waiting": {"reason": "PodInitializing"}}
        self.stopping = asyncio.Event()
        self._deadline = 0.0
        self._volumes: Volumes | None = None

    @property
    def workers(self) -> list[ContainerWorker]:
        return [*self.init, *self.containers]

    @property
    def title(self) -> str:
        """How messages name it (pkg/kubelet/util/format)."""
        return f"{self.name}_{self.namespace}({self.uid})"

    @property
    def netns(self) -> str:
        """The network namespace of the containers, by name."""
        return self.sandbox.netns if self.sandbox else ""

    @property
    def ip(self) -> str:
        """The pod's first address; empty before it has one."""
        return next(iter(self.state.pod_ips), "")

    # --- the pod's life ---

    async def run(self) -> None:
        """Until the pod has been deleted."""
        try:
            self.publish()
            if await self._set_up():
                await self._run_containers()
            await self._tear_down()
            await self.stopping.wait()
        finally:
            if self.stopping.is_set():
                shutil.rmtree(self.folder, ignore_errors=True)
        self._delete()

    def stop(self, grace: float) -> None:
        """The pod is being deleted: end its containers within `grace` seconds, fewer at a later call."""
        deadline = asyncio.get_running_loop().time() + grace
        if not self.stopping.is_set():
            self.grace, self._deadline = grace, deadline
            self.stopping.set()
        elif deadline < self._deadline:
            self.kill()

    def kill(self) -> None:
        """The pod has been deleted: end its containers at once."""
        self._deadline = 0.0
        self.stopping.set()
        for each in self.workers:
            each.kill()

    def refresh(self, pod: Obj | None = None) -> None:
        """Bring the files of its volumes up to date, after a change of the pod, a ConfigMap or a Secret."""
        self.pod = pod or self.pod
        if self._volumes is not None and not self.stopping.is_set():
            self._volumes.pod = self.pod
            with contextlib.suppress(CreateError):  # it is gone, but running containers keep its files
                self._volumes.write()

    async def _set_up(self) -> bool:
        """Make the sandbox and the volumes; False if the pod is to stop before that has succeeded."""
        while not self.stopping.is_set():
            try:
                if self.sandbox is None:
                    await self._make_sandbox()
                self._make_volumes()
            except CreateError as error:
                self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
            except (KcompileError, OSError) as error:
                self.event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            else:
                self.publish()
                return True
            await self._pause(_SET_UP_AGAIN)
        return False

    async def _make_sandbox(self) -> None:
        host = bool(self.pod["spec"].get("hostNetwork"))
        self.sandbox = await self.lab.sandboxes.make(self.node, self.namespace, self.name, host=host)
        self.state.pod_ips, self.state.sandbox = self.sandbox.ips, True

    def _make_volumes(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        spec, directory = self.pod["spec"], self.lab.directory
        automatic = spec.get("automountServiceAccountToken") is not False
        self._volumes = Volumes(
            self.folder / "volumes",
            directory / "nodes" / self.node.name / "host",
            directory / "claims" / self.namespace,
            self.pod,
            self._lookup,
            self._facts(),
            self.lab.account() if automatic else None,
        )
        self._volumes.write()

    async def _run_containers(self) -> None:
        """Until all have ended for good, or the pod is to stop."""
        sidecars: list[asyncio.Task[None]] = []
        beside = [asyncio.create_task(self._end_containers())]
        if limit := self.pod["spec"].get("activeDeadlineSeconds"):
            beside.append(asyncio.create_task(self._exceed(limit)))
        try:
            if await self._initialize(sidecars):
                await asyncio.gather(*(each.run() for each in self.containers))
            await self._end_sidecars()
            await asyncio.gather(*sidecars)
        finally:
            for task in (*beside, *sidecars):
                task.cancel()

    async def _end_sidecars(self) -> None:
        """End those that stay, the last first."""
        loop = asyncio.get_running_loop()
        deadline = self._deadline if self.stopping.is_set() else loop.time() + self.grace
        for each in reversed([each for each in self.init if each.runs]):
            await each.stop(deadline)

    async def _initialize(self, sidecars: list[asyncio.Task[None]]) -> bool:
        """Run the init containers in their order; False if the others may not start."""
        for each in self.init:
            if self.stopping.is_set():
                return False
            if is_sidecar(each.spec):
                sidecars.append(asyncio.create_task(each.run()))
                await each.begun.wait()
            else:
                await each.run()
                if not each.state.succeeded:
                    return False
        return not self.stopping.is_set()

    async def _end_containers(self) -> None:
        """Once the pod is to stop: end all but the sidecars, which go after the others."""
        await self.stopping.wait()
        if any(each.state.ready for each in self.containers):
            left = self._deadline - asyncio.get_running_loop().time()
            await asyncio.sleep(min(_RULES_FIRST, max(left, 0.0)))
        await asyncio.gather(
            *(each.stop(self._deadline) for each in self.workers if not is_sidecar(each.spec) and each.runs)
        )

    async def _exceed(self, seconds: float) -> None:
        """activeDeadlineSeconds: the pod has failed then, and its containers end."""
        await asyncio.sleep(seconds)
        self.state.reason = "DeadlineExceeded"
        self.state.message = "Pod was active on the node longer than the specified deadline"
        deadline = asyncio.get_running_loop().time() + self.grace
        await asyncio.gather(*(each.stop(deadline) for each in self.workers if each.runs))

    async def _tear_down(self) -> None:
        """Every container has ended: free the addresses."""
        if self.sandbox is not None:
            sandbox, self.sandbox = self.sandbox, None
            self.state.sandbox = False
            self.publish()
            await self.lab.sandboxes.remove(self.node, sandbox)

    def _delete(self) -> None:
        """The last word: the pod goes from the API."""
        if self._current() is not None:
            with contextlib.suppress(StatusError):
                self.lab.client.delete("Pod", self.namespace, self.name, 0)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    # --- what its containers ask ---

    def spec_of(self, container: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
        """Raises CreateError, and KcompileError for the image."""
        assert self._volumes is not None
        settings, spec = self.lab.settings, self.pod["spec"]
        image, container = images.for_container(container, settings.images, stand_ins=settings.stand_ins)
        self._volumes.write()
        services = self.lab.client.objects("Service").values()
        links = spec.get("enableServiceLinks") is not False
        files = pod_files(
            self.pod,
            self.state.pod_ips,
            self.node.name,
            settings.name_servers,
            settings.domain,
            self.lab.host_resolv_conf,
        )
        request = container_spec(
            self._volumes,
            container,
            image,
            services=service_variables(services, self.namespace, links),
            hostname=hostname(self.pod, self.node.name),
            files=files,
            folder=folder,
        )
        return {**request, "netns": f"/run/netns/{self.netns}"}, image.identity

    def group_of(self, container: Mapping[str, Any]) -> Path | None:
        """The cgroup for a container's limits."""
        name = f"{self.namespace}.{self.name}.{container['name']}"
        try:
            return self.cgroups.make(name, limits(container.get("resources") or {}))
        except (OSError, ValueError) as error:
            self.event("Warning", "FailedCgroup", f"resources.limits: {error}")
            return None

    def publish(self) -> None:
        """Write the pod's status, if it has changed."""
        current = self._current()
        if current is None:
            return
        status = pod_status(current, self.state, time.time())
        if status != current.get("status"):
            with contextlib.suppress(StatusError):  # deleted meanwhile
                self.lab.client.update_status({**current, "status": status})

    def event(self, kind: str, reason: str, message: str) -> None:
        """Tell users, as an Event of the pod."""
        self.lab.client.event(self.pod, kind, reason, message)

    def _current(self) -> Obj | None:
        """The pod in the API; None where it is gone, or another has its name."""
        pod = self.lab.client.get("Pod", self.namespace, self.name)
        return pod if pod is not None and str(pod["metadata"].get("uid") or "") == self.uid else None

    def _lookup(self, kind: str, name: str) -> Obj | None:
        return self.lab.client.get(kind, self.namespace, name)

    def _facts(self) -> Facts:
        return Facts(self.node.name, tuple(self.node.ips), tuple(self.state.pod_ips))


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
