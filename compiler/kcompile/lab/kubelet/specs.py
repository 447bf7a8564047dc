"""What the spawner needs to know of a container: its command, user, files and mounts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import images
from ..images import Image
from .environment import CreateError, environment, expanded
from .volumes import Volumes, binds

__all__ = ["container_spec", "exec_spec", "is_sidecar", "ports", "uncovered"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES = Path(__file__).parents[3]  # where kcompile is
_TERMINATION = "/dev/termination-log"


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """True for an init container that stays."""
    return container.get("restartPolicy") == "Always"


def ports(container: Mapping[str, Any]) -> dict[str, int]:
    """The numbers of the container's ports that have names."""
    return {each["name"]: each["containerPort"] for each in container.get("ports") or () if each.get("name")}


def container_spec(
    volumes: Volumes,
    container: Mapping[str, Any],
    image: Image,
    *,
    services: Mapping[str, str],
    hostname: str,
    files: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:
    """The request for the spawner, without ``netns`` and ``cgroup``. Raises CreateError.

    `services`: the variables of Services; `folder`: of the container's own, with its root and its termination
    message.
    """
    own = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "HOSTNAME": hostname}
    if image.is_own:
        own |= {"NODE_NAME": volumes.facts.node}
    if images.PYTHON in image.entrypoint:
        own |= {"PYTHONPATH": str(_PACKAGES)}
    base = own | image.env | dict(services)
    variables = environment(volumes.pod, container, base, volumes.lookup, volumes.facts)
    command = images.command_of(
        image, _expanded(container.get("command"), variables), _expanded(container.get("args"), variables)
    )
    if not command:
        raise CreateError("no command specified")
    message = folder / "termination-log"
    message.write_bytes(b"")
    root = folder / "root"
    root.mkdir(exist_ok=True)
    target = container.get("terminationMessagePath") or _TERMINATION
    mounts = binds(volumes, container, variables)
    mounts.append({"source": str(message), "target": target, "readOnly": False})
    if image.is_own:
        mounts += uncovered(mounts)
    context = container.get("securityContext") or {}
    return {
        "directory": str(root),
        "hostname": hostname,
        "command": command,
        "env": variables,
        "cwd": container.get("workingDir") or image.workdir,
        "user": _user(volumes.pod, context, image),
        "groups": _groups(volumes.pod),
        "files": {**image.files, **files},
        "binds": mounts,
        "readOnly": bool(context.get("readOnlyRootFilesystem")),
        "prepare": image.prepare,
        "tty": bool(container.get("tty")),
        "stopSignal": image.stop_signal,
    }


def exec_spec(spec: Mapping[str, Any], command: Sequence[str], *, tty: bool) -> dict[str, Any]:
    """The request for a process beside the container that `spec` started."""
    terminal = {"TERM": "xterm"} if tty else {}
    kept = {key: spec[key] for key in ("cwd", "user", "groups", "cgroup")}
    return {**kept, "command": list(command), "env": {**terminal, **spec["env"]}, "tty": tty}


def _expanded(words: Sequence[str] | None, variables: Mapping[str, str]) -> list[str] | None:
    return None if words is None else [expanded(word, variables) for word in words]


def _user(pod: Mapping[str, Any], context: Mapping[str, Any], image: Image) -> str:
    """``UID[:GID]`` of the manifest, else the image's user. What is kcompile's own runs as root: its Python
    may be where nobody else can read.
    """
    if image.is_own:
        return ""
    whole = (pod["spec"].get("securityContext") or {}) | dict(context)
    user, group = whole.get("runAsUser"), whole.get("runAsGroup")
    if user is None:
        return image.user if group is None else f"{image.user or '0'}:{group}"
    return f"{user}" if group is None else f"{user}:{group}"


def _groups(pod: Mapping[str, Any]) -> list[int]:
    context = pod["spec"].get("securityContext") or {}
    own = [context["fsGroup"]] if context.get("fsGroup") is not None else []
    return [*own, *(context.get("supplementalGroups") or ())]


def uncovered(mounts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Binds of what kcompile's own images run, as far as one of `mounts` hides it: where kcompile is
    installed below /tmp, say, and the pod has a volume there.
    """
    targets = [Path(mount["target"]) for mount in mounts]
    return [
        {"source": str(path), "target": str(path), "readOnly": True}
        for path in (Path(sys.prefix), _PACKAGES)
        if any(path.is_relative_to(target) for target in targets)
    ]
