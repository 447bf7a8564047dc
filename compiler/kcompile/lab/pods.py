"""A Pod's folder, files, environment and containers, and whether it is ready."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError
from . import container, images, netns
from .images import PYTHON
from .objects import ConfigMap, Container, EnvVar, KeyToPath, PodManifest, Secret, Volume, VolumeMount
from .state import LabState, PodState, Stored
from .workloads import decoded

__all__ = ["ContainerStatus", "Kubelet"]

_GRACE = 2.0  # seconds that a container has between SIGTERM and SIGKILL
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)|\$\$")
_LISTENING = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it


class ContainerStatus(msgspec.Struct):
    """What container.py writes about its container.

    `keeper`, `pid`: of container.py and of the container, 0 where it doesn't run; `exit`: the last exit
    status, None before the first.
    """

    keeper: int = 0
    pid: int = 0
    restarts: int = 0
    exit: int | None = None


class Kubelet:
    """Starts, watches and stops the containers of the Pods of the lab in `directory`."""

    def __init__(self, state: LabState, directory: Path) -> None:
        self.state, self.directory = state, directory

    def folder(self, pod: PodState) -> Path:
        return self.directory / "pods" / f"{pod.namespace}.{pod.name}"

    def netns_of(self, pod: PodState) -> str:
        """The network namespace that `pod` lives in."""
        if pod.host_network:
            return netns.netns_name(self.state.name, "node", pod.node)
        return netns.netns_name(self.state.name, "pod", pod.namespace, pod.name)

    def log(self, pod: PodState, name: str) -> Path:
        return self.folder(pod) / f"{name}.log"

    def containers(self, pod: PodState) -> list[Container]:
        return decoded(PodManifest, Stored(pod.manifest)).spec.containers

    def status(self, pod: PodState, name: str) -> ContainerStatus:
        """The status of the container `name` of `pod` now; the default one before its first start."""
        try:
            status = msgspec.json.decode(
                (self.folder(pod) / f"{name}.status").read_bytes(), type=ContainerStatus
            )
        except (FileNotFoundError, msgspec.DecodeError):
            return ContainerStatus()
        if not _lives(status.keeper):
            status.keeper = status.pid = 0
        return status

    def statuses(self, pod: PodState) -> list[ContainerStatus]:
        """`running` of each container."""
        return [self.status(pod, each.name) for each in self.containers(pod)]

    def has_finished(self, pod: PodState) -> bool:
        """True if every container has exited with 0 and the restart policy isn't Always."""
        if decoded(PodManifest, Stored(pod.manifest)).spec.restart_policy == "Always":
            return False
        return all(each.exit == 0 and not each.pid for each in self.statuses(pod))

    def check(self, pod: PodState) -> None:
        """Raise what `start` would raise: ConfigError for an unknown image or a missing ConfigMap."""
        spec = decoded(PodManifest, Stored(pod.manifest)).spec
        who = f"Deployment {pod.owner}" if pod.owner else f"Pod {pod.key}"
        volumes = {volume.name: volume for volume in spec.volumes or ()}
        for each in spec.containers:
            image = images.find(each.image, self.state.images, who)
            if not images.command_of(image, each.command, each.args):
                problem = "nothing to run: neither the image nor the container has a command"
                raise ConfigError(f"{who}: container {each.name}: {problem}")
            self._environment(pod, each, image)
            for mount in each.volume_mounts or ():
                if mount.name not in volumes:
                    problem = f"volumeMounts: there is no volume {mount.name!r}"
                    raise ConfigError(f"{who}: container {each.name}: {problem}")
        for volume in volumes.values():
            self._contents(pod, volume)

    def start(self, pod: PodState) -> bool:
        """Start the containers that don't run, in the pod's existing namespace; False where all run."""
        self.folder(pod).mkdir(parents=True, exist_ok=True)
        try:
            self.refresh(pod)
        except ConfigError:
            if not any(each.keeper for each in self.statuses(pod)):
                raise  # else the ConfigMap is gone, but running containers keep its files
        again = decoded(PodManifest, Stored(pod.manifest)).spec.restart_policy == "Always"
        started = False
        for each in self.containers(pod):
            status = self.status(pod, each.name)
            if not status.keeper and (again or status.exit is None):
                started = True
                self._start_container(pod, each)
        return started

    def _start_container(self, pod: PodState, each: Container) -> None:
        folder = self.folder(pod)
        (folder / f"{each.name}.status").unlink(missing_ok=True)
        (folder / each.name).mkdir(exist_ok=True)
        path = folder / f"{each.name}.json"
        path.write_text(json.dumps(self._container_file(pod, each)))
        netns.start(self.netns_of(pod), [sys.executable, "-I", "-S", container.__file__, str(path)])

    def refresh(self, pod: PodState) -> None:
        """Update the files of the pod's volumes; containers see it at once. Raises ConfigError."""
        spec = decoded(PodManifest, Stored(pod.manifest)).spec
        for volume in spec.volumes or ():
            folder = self.folder(pod) / "volumes" / volume.name
            folder.mkdir(parents=True, exist_ok=True)
            contents = self._contents(pod, volume)
            if contents is None:
                continue
            for old in folder.rglob("*"):
                if old.is_file() and str(old.relative_to(folder)) not in contents:
                    old.unlink()
            for name, data in contents.items():
                path = folder / name
                if not path.exists() or path.read_bytes() != data:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)

    def stop(self, pods: Sequence[PodState]) -> None:
        """Stop the containers of `pods` (SIGTERM, then SIGKILL) and remove their namespaces and folders."""
        keepers = {self.status(pod, each.name).keeper for pod in pods for each in self.containers(pod)}
        alive = keepers.intersection(netns.processes(map(self.netns_of, pods)))
        for pid in alive:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE + 1
        while any(_lives(pid) for pid in alive) and time.monotonic() < deadline:
            time.sleep(0.01)
        netns.remove([self.netns_of(pod) for pod in pods if not pod.host_network])
        for pod in pods:
            shutil.rmtree(self.folder(pod), ignore_errors=True)

    def is_ready(self, pod: PodState) -> bool:
        """True if every container runs and listens on the TCP ports that it declares."""
        for each in self.containers(pod):
            pid = self.status(pod, each.name).pid
            wanted = {port.container_port for port in each.ports or () if port.protocol == "TCP"}
            if not pid or not wanted <= _listening(pid):
                return False
        return True

    # --- files and environment of a container ---

    def _container_file(self, pod: PodState, each: Container) -> dict[str, Any]:
        """The file that container.py reads."""
        spec = decoded(PodManifest, Stored(pod.manifest)).spec
        image = images.find(each.image, self.state.images, pod.key)
        environment = self._environment(pod, each, image)
        folder = self.folder(pod)
        hostname = environment["HOSTNAME"]
        files = {
            "/etc/hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{pod.ips[0]}\t{hostname}\n",
            "/etc/hostname": f"{hostname}\n",
            "/etc/resolv.conf": self._resolv_conf(pod),
        }
        command = images.command_of(image, each.command, each.args)
        return {
            "directory": str(folder / each.name),
            "log": str(self.log(pod, each.name)),
            "status": str(folder / f"{each.name}.status"),
            "hostname": hostname,
            "command": [_expanded(word, environment) for word in command],
            "env": environment,
            "cwd": each.working_dir,
            "files": image.files | files,
            "binds": self._binds(pod, spec.volumes or (), each.volume_mounts or ()),
            "prepare": image.prepare,
            "restart": spec.restart_policy,
            "grace": _GRACE,
        }

    def _binds(
        self, pod: PodState, volumes: Iterable[Volume], mounts: Iterable[VolumeMount]
    ) -> list[dict[str, Any]]:
        """The bind mounts: from the host's path, or from the pod's folder."""
        folder = self.folder(pod) / "volumes"
        host_paths = {volume.name: volume.host_path.path for volume in volumes if volume.host_path}
        binds = []
        for mount in mounts:
            source = Path(host_paths.get(mount.name) or folder / mount.name) / mount.sub_path
            binds.append({"source": str(source), "target": mount.mount_path, "readOnly": mount.read_only})
        return binds

    def _resolv_conf(self, pod: PodState) -> str:
        """As a kubelet writes it for dnsPolicy ClusterFirst (pkg/kubelet/network/dns)."""
        domain = self.state.domain
        servers = "".join(f"nameserver {ip}\n" for ip in name_servers(self.state))
        return f"search {pod.namespace}.svc.{domain} svc.{domain} {domain}\n{servers}options ndots:5\n"

    def _environment(self, pod: PodState, each: Container, image: images.Image) -> dict[str, str]:
        spec = decoded(PodManifest, Stored(pod.manifest)).spec
        hostname = pod.node if pod.host_network else spec.hostname or pod.name[:63]
        found = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "HOSTNAME": hostname} | image.env
        if PYTHON in image.entrypoint:
            found["PYTHONPATH"] = str(Path(__file__).parents[2])
        for source in each.env_from or ():
            for kind, ref in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
                if ref:
                    for key, value in self._data(pod, kind, ref.name, ref.optional).items():
                        found[source.prefix + key] = value.decode(errors="replace")
        for variable in each.env or ():
            found[variable.name] = _expanded(self._value(pod, variable), found)
        return found

    def _value(self, pod: PodState, variable: EnvVar) -> str:
        source = variable.value_from
        if source is None:
            return variable.value
        if source.field_ref:
            return _field(pod, self.state, source.field_ref.field_path)
        for kind, ref in (("ConfigMap", source.config_map_key_ref), ("Secret", source.secret_key_ref)):
            if ref:
                data = self._data(pod, kind, ref.name, ref.optional)
                if ref.key not in data and not ref.optional:
                    raise ConfigError(
                        f"Pod {pod.key}: env {variable.name}: {kind} {ref.name} has no key {ref.key!r}"
                    )
                return data.get(ref.key, b"").decode(errors="replace")
        raise ConfigError(
            f"Pod {pod.key}: env {variable.name}: a lab knows fieldRef, configMapKeyRef and secretKeyRef"
        )

    def _contents(self, pod: PodState, volume: Volume) -> Mapping[str, bytes] | None:
        """The files of a ConfigMap's or Secret's volume, by path; None for emptyDir and hostPath.

        Raises ConfigError.
        """
        items: list[KeyToPath] | None
        if source := volume.config_map:
            data = self._data(pod, "ConfigMap", source.name, source.optional)
            items = source.items
        elif secret := volume.secret:
            data = self._data(pod, "Secret", secret.secret_name, secret.optional)
            items = secret.items
        elif volume.host_path or volume.empty_dir is not None:
            return None
        else:
            raise ConfigError(
                f"Pod {pod.key}: volume {volume.name}: a lab knows configMap, secret, emptyDir and hostPath"
            )
        files = {item.path: data[item.key] for item in items if item.key in data} if items else data
        if escape := next((path for path in files if path.startswith("/") or ".." in Path(path).parts), None):
            raise ConfigError(f"Pod {pod.key}: volume {volume.name}: {escape!r} leads out of it")
        return files

    def _data(self, pod: PodState, kind: str, name: str, optional: bool) -> Mapping[str, bytes]:
        """The contents of a ConfigMap or Secret. Raises ConfigError for a missing one, unless `optional`."""
        stored = self.state.objects.get(f"{kind}/{pod.namespace}/{name}")
        if stored is None:
            if optional:
                return {}
            raise ConfigError(f"Pod {pod.key}: there is no {kind} {pod.namespace}/{name}")
        if kind == "ConfigMap":
            found = decoded(ConfigMap, stored)
            return _encoded(found.data) | (found.binary_data or {})
        secret = decoded(Secret, stored)
        return (secret.data or {}) | _encoded(secret.string_data)


def _encoded(texts: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: value.encode() for key, value in (texts or {}).items()}


def name_servers(state: LabState) -> list[str]:
    """The clusterIPs of the lab's DNS Service: the tenth address of each family's first range, as kubeadm has
    it.
    """
    from ipaddress import ip_network

    first: dict[int, str] = {}
    for cidr in state.service_cidrs:
        network = ip_network(cidr)
        first.setdefault(network.version, str(network[10]))
    return list(first.values())


def _field(pod: PodState, state: LabState, path: str) -> str:
    """The value of a fieldRef with this fieldPath. Raises ConfigError for one that a lab doesn't know."""
    node = state.node(pod.node) if pod.node else state.nodes[0]  # not scheduled: `check` asks, any node does
    metadata = pod.manifest["metadata"]
    values = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "spec.nodeName": node.name,
        "status.podIP": next(iter(pod.ips), ""),
        "status.podIPs": ",".join(pod.ips),
        "status.hostIP": node.ips[0],
    }
    label = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if label:
        return str((metadata.get(label[1]) or {}).get(label[2], ""))
    if path not in values:
        known = ", ".join([*values, "metadata.labels['']", "metadata.annotations['']"])
        raise ConfigError(f"Pod {pod.key}: fieldPath {path!r}: a lab knows {known}")
    return values[path]


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced where NAME is known, ``$$`` a dollar (third_party/forked/golang/expansion)."""
    return _VARIABLE.sub(lambda m: "$" if m[0] == "$$" else environment.get(m[1], m[0]), text)


def _lives(pid: int) -> bool:
    try:
        return bool(pid) and Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def _listening(pid: int) -> set[int]:
    """The listening TCP ports in the network namespace of process `pid`."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines)
        found |= {int(field[1].rpartition(":")[2], 16) for field in fields if field[3] == _LISTENING}
    return found
