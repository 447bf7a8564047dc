"""The kubelets of all nodes of a lab: pods come and go as the API says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from pathlib import Path

from ...apiserver import StatusError
from ..client import Client, Obj
from ..netns import netns_name
from ..settings import LabSettings
from .access import Access
from .cgroups import Cgroups
from .pod import Lab, PodWorker
from .runtime import Runtime
from .sandbox import Sandboxes, Wired
from .unsupported import unsupported
from .volumes import mentions

__all__ = ["Kubelets"]

_log = logging.getLogger(__name__)
_RESOLV_CONF = Path("/etc/resolv.conf")
_HANDED_DOWN = ("ConfigMap", "Secret")
_ENDED = ("Succeeded", "Failed")
_Key = tuple[str, str]


def _raise_limit() -> None:
    """A container takes four descriptors of this process. Its own limit stays: the spawner runs already."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Kubelets(Access):
    """Runs the pods that are bound to nodes of `settings`; files go below `directory`.

    `wired` is called when a pod's link to its node is there.
    """

    def __init__(self, client: Client, settings: LabSettings, directory: Path, wired: Wired) -> None:
        super().__init__()
        self._client = client
        self.runtime = Runtime(netns_name(settings.name, "fabric"))
        self._lab = Lab(
            client,
            settings,
            directory,
            self.runtime,
            Sandboxes(settings, wired),
            Cgroups(settings.name),
            _RESOLV_CONF.read_text() if _RESOLV_CONF.exists() else "",
        )
        self._nodes = {node.name: node for node in settings.nodes}
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._said: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled; then every container is killed with the spawner. Namespaces stay."""
        self.runtime.open()
        _raise_limit()
        stop = self._client.watch(["Pod", *_HANDED_DOWN], self._changed)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stop()
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self.runtime.close()

    # --- what the API says ---

    def _changed(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        assert obj is not None
        meta = obj["metadata"]
        if kind in _HANDED_DOWN:
            for worker in self.workers.values():
                if worker.namespace == meta["namespace"] and mentions(worker.pod, kind, meta["name"]):
                    worker.refresh()
        elif obj["spec"].get("nodeName") in self._nodes:
            self._pod_changed((meta["namespace"], meta["name"]), obj, gone=new is None)

    def _pod_changed(self, key: _Key, pod: Obj, *, gone: bool) -> None:
        worker, meta = self.workers.get(key), pod["metadata"]
        same = worker is not None and worker.uid == str(meta.get("uid") or "")
        if worker is not None and (gone or not same):
            if same or not gone:
                worker.kill()
            return  # its end looks for a pod that has the name now
        if worker is None:
            if not gone:
                self._unknown_pod(key, pod)
            return
        worker.refresh(pod)
        if meta.get("deletionTimestamp"):
            worker.stop(float(meta.get("deletionGracePeriodSeconds") or 0))

    def _unknown_pod(self, key: _Key, pod: Obj) -> None:
        """A pod that doesn't run here: begin with it, unless it has ended or goes."""
        meta = pod["metadata"]
        if not meta.get("deletionTimestamp"):
            if (pod.get("status") or {}).get("phase") not in _ENDED:
                self._begin(key, pod)
        elif not meta.get("finalizers"):
            with contextlib.suppress(StatusError):
                self._client.delete("Pod", *key, 0)

    def _begin(self, key: _Key, pod: Obj) -> None:
        self._say_unsupported(pod)
        worker = self.workers[key] = PodWorker(self._lab, self._nodes[pod["spec"]["nodeName"]], pod)
        task = self._tasks[key] = asyncio.create_task(worker.run())
        task.add_done_callback(lambda task: self._ended(key, task))

    def _ended(self, key: _Key, task: asyncio.Task[None]) -> None:
        worker = self.workers.pop(key)
        del self._tasks[key]
        if task.cancelled():
            return
        if error := task.exception():
            _log.error("pod %s/%s: %s", *key, error, exc_info=error)
            worker.kill()
        following = self._client.get("Pod", *key)
        if following is not None and str(following["metadata"].get("uid") or "") != worker.uid:
            self._changed("Pod", None, following)

    def _say_unsupported(self, pod: Obj) -> None:
        """Name what the pod asks for and a lab hasn't: each once a lab."""
        names = unsupported(pod["spec"])
        limited = any((each.get("resources") or {}).get("limits") for each in pod["spec"]["containers"])
        if limited and not self._lab.cgroups.works:
            names.append("containers[].resources.limits (this machine has no cgroup v2 with cpu and memory)")
        new = [name for name in names if name not in self._said]
        self._said.update(new)
        if new:
            text = f"Without effect in a lab: {', '.join(new)}"
            self._client.event(pod, "Warning", "NotSupported", text)
            _log.warning("pod %s/%s: %s", pod["metadata"]["namespace"], pod["metadata"]["name"], text)
