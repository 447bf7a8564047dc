"""Runs a command inside a lab in place of this process: in a container, on a node or as the client."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ..lab.state import LabState

__all__ = ["become"]

_NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid", "--root", "--wd")  # of nsenter(1)


def become(
    name: str, who: str, namespace: str | None, container: str | None, words: tuple[str, ...]
) -> NoReturn:
    """Run `words` where `who` is; the exit status is the command's.

    Raises InputError, or UnsupportedError where the command doesn't exist.
    """
    from .. import spawn
    from ..errors import UnsupportedError
    from ..kernel.netns import entered
    from ..lab.netns import netns_name
    from ..lab.state import LabState, lab_directory

    state = LabState.load(lab_directory(name))
    netns: str | None = None
    if who == "client":
        netns = netns_name(name, "client")
    elif who in [node.name for node in state.nodes]:
        netns = netns_name(name, "node", who)
    if netns is None:
        words, environment = _in_container(state, who, namespace, container, words)
    else:
        environment = {**os.environ, "PATH": spawn.search_path()}
    with entered(netns):
        try:
            os.execvpe(words[0], words, environment)  # noqa: S606
        except FileNotFoundError:
            raise UnsupportedError(f"{words[0]}: there is no such command") from None


def _in_container(
    state: LabState, who: str, namespace: str | None, container: str | None, words: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command line that runs `words` in a container of pod `who`, and its environment."""
    from .. import spawn
    from ..errors import InputError
    from ..lab.pods import Kubelet
    from ..lab.state import lab_directory
    from .lab_objects import container_named, pods_named

    pod = pods_named(state, who, namespace)[0]
    kubelet = Kubelet(state, lab_directory(state.name))
    which = container_named(kubelet.containers(pod), container)
    pid = kubelet.status(pod, which).pid
    if not pid:
        raise InputError(f"container {which} of pod {pod.name} doesn't run (kcompile lab logs {pod.name})")
    environment: dict[str, str] = json.loads((kubelet.folder(pod) / f"{which}.json").read_text())["env"]
    nsenter = spawn.located(["nsenter"])[0]
    return (nsenter, "--target", str(pid), *_NAMESPACES, "--", *words), environment
