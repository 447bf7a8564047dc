"""A pod's volumes: what is in them, and the folders that containers see.

Contents are written file by file, each replaced whole, so that a running container sees a changed ConfigMap,
and one that mounts a single file of it (subPath) doesn't, as in a real cluster.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import write_whole
from .environment import CreateError, Facts, Lookup, contents, expanded, field, resource_field

__all__ = ["ACCOUNT", "Account", "File", "Volumes", "binds", "mentions"]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_MODE = 0o644
_CONTENTS = ("configMap", "secret", "downwardAPI", "projected")
_FOLDER_MODE = 0o777  # of an emptyDir (pkg/volume/emptydir)


@dataclass(frozen=True)
class File:
    data: bytes
    mode: int = _MODE


@dataclass(frozen=True)
class Account:
    """What a pod gets to speak to the API server."""

    token: bytes
    ca: bytes


Files = dict[str, File]


@dataclass
class Volumes:
    """The volumes of one pod below `folder`; `node_folder` stands for paths of the node that this machine
    hasn't, `claims` has a folder for each PersistentVolumeClaim.
    """

    folder: Path
    node_folder: Path
    claims: Path
    pod: Mapping[str, Any]
    lookup: Lookup
    facts: Facts
    account: Account | None = None

    def write(self) -> None:
        """Make the folders, and bring their contents up to date. Raises CreateError."""
        for volume in self.pod["spec"].get("volumes") or ():
            path = self.folder / volume["name"]
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(_FOLDER_MODE)
                _set_group(path, self.pod)
            files = self._files(volume)
            if files is not None:
                _replace(path, files)
        if self.account is not None:
            path = self.folder / "kube-api-access"
            path.mkdir(parents=True, exist_ok=True)
            _replace(path, self._account_files({"token": "token", "ca": "ca.crt", "namespace": "namespace"}))

    def source(self, volume: Mapping[str, Any]) -> Path:
        """The folder or file that is mounted for a volume."""
        if claim := volume.get("persistentVolumeClaim"):
            path = self.claims / str(claim["claimName"])
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(_FOLDER_MODE)
            return path
        if "hostPath" not in volume:
            return self.folder / str(volume["name"])
        host = Path(volume["hostPath"]["path"])
        if host.exists():
            return host
        own = self.node_folder / str(host).lstrip("/")
        if (volume["hostPath"].get("type") or "").startswith("File"):
            own.parent.mkdir(parents=True, exist_ok=True)
            own.touch()
        else:
            own.mkdir(parents=True, exist_ok=True)
        return own

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self, volume: Mapping[str, Any]) -> Files | None:
        """The files of a volume with contents; None for an empty folder and a path of the node."""
        if source := volume.get("configMap"):
            return self._of_data("ConfigMap", source, source.get("name", ""))
        if source := volume.get("secret"):
            return self._of_data("Secret", source, source.get("secretName", ""))
        if source := volume.get("downwardAPI"):
            return self._of_fields(source, source.get("defaultMode"))
        if source := volume.get("projected"):
            return self._projected(source)
        return None

    def _projected(self, volume: Mapping[str, Any]) -> Files:
        mode = volume.get("defaultMode")
        found: Files = {}
        for source in volume.get("sources") or ():
            for kind, key in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if ref := source.get(key):
                    found |= self._of_data(kind, {"defaultMode": mode, **ref}, ref.get("name", ""))
            if ref := source.get("downwardAPI"):
                found |= self._of_fields(ref, mode)
            if ref := source.get("serviceAccountToken"):
                found |= self._account_files({"token": ref["path"]})
        return found

    def _account_files(self, names: Mapping[str, str]) -> Files:
        account = self.account or Account(b"", b"")
        namespace = self.pod["metadata"]["namespace"].encode()
        data = {"token": account.token, "ca": account.ca, "namespace": namespace}
        return {path: File(data[key]) for key, path in names.items()}

    def _of_data(self, kind: str, source: Mapping[str, Any], name: str) -> Files:
        obj = self.lookup(kind, name)
        if obj is None:
            if source.get("optional"):
                return {}
            raise CreateError(f'{kind.lower()} "{name}" not found')
        data, mode = contents(obj), source.get("defaultMode") or _MODE
        if not source.get("items"):
            return {key: File(value, mode) for key, value in data.items()}
        found: Files = {}
        for item in source["items"]:
            if item["key"] in data:
                found[_inside(item["path"])] = File(data[item["key"]], item.get("mode") or mode)
            elif not source.get("optional"):
                raise CreateError(f"references non-existent config key: {item['key']}")
        return found

    def _of_fields(self, source: Mapping[str, Any], mode: int | None) -> Files:
        found: Files = {}
        for item in source.get("items") or ():
            if ref := item.get("fieldRef"):
                text = field(self.pod, ref["fieldPath"], self.facts)
            else:
                text = resource_field(self.pod, {}, item["resourceFieldRef"], self.facts)
            found[_inside(item["path"])] = File(text.encode(), item.get("mode") or mode or _MODE)
        return found


def mentions(pod: Mapping[str, Any], kind: str, name: str) -> bool:
    """True if a volume of the pod has something of the ConfigMap or Secret `name`."""
    key, name_key = ("configMap", "name") if kind == "ConfigMap" else ("secret", "secretName")
    for volume in pod["spec"].get("volumes") or ():
        if (volume.get(key) or {}).get(name_key) == name:
            return True
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any((source.get(key) or {}).get("name") == name for source in sources):
            return True
    return False


def binds(
    volumes: Volumes, container: Mapping[str, Any], environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The bind mounts of a container, as spawner/mounts.py reads them. Raises CreateError."""
    named = {volume["name"]: volume for volume in volumes.pod["spec"].get("volumes") or ()}
    found: list[dict[str, Any]] = []
    mounts = container.get("volumeMounts") or ()
    for mount in mounts:
        volume = named.get(mount["name"])
        if volume is None:
            raise CreateError(f"volumeMounts: there is no volume {mount['name']!r}")
        source = volumes.source(volume)
        if part := expanded(mount.get("subPathExpr") or mount.get("subPath") or "", environment):
            source = source / _inside(part)
            if not source.exists():
                source.mkdir(parents=True)
        read_only = bool(mount.get("readOnly")) or _is_contents(volume)
        found.append({"source": str(source), "target": mount["mountPath"], "readOnly": read_only})
    if volumes.account is not None and not any(mount["mountPath"] == ACCOUNT for mount in mounts):
        source = volumes.folder / "kube-api-access"
        found.append({"source": str(source), "target": ACCOUNT, "readOnly": True})
    return found


def _is_contents(volume: Mapping[str, Any]) -> bool:
    return any(key in volume for key in _CONTENTS)


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in Path(path).parts:
        raise CreateError(f"{path!r} leads out of the volume")
    return path


def _replace(folder: Path, files: Mapping[str, File]) -> None:
    """Make the files below `folder` what `files` says."""
    for old in _paths(folder):
        if str(old.relative_to(folder)) not in files:
            old.unlink()
    for name, file in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == file.data and path.stat().st_mode & 0o777 == file.mode:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, file.data, mode=file.mode)
        path.chmod(file.mode)  # whatever the umask


def _paths(folder: Path) -> Iterable[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def _set_group(path: Path, pod: Mapping[str, Any]) -> None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    if group is not None:
        os.chown(path, -1, int(group))
        path.chmod(0o2777)
