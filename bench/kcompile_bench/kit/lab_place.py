"""A lab of the run's own (``kcompile lab``) as the machines to measure on: nodes that route to each other's
pods, and a client outside.

Its pods do nothing but lend their namespaces, and its nodes have no agents. One lab serves all modes in turn,
as real machines do (hosts.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from kcompile import spawn
from kcompile.errors import UnsupportedError

from .drive import program
from .ebpf_room import Room, room
from .hosts import HostsPlace, Inventory, Role

__all__ = ["lab_place", "sweep_labs"]

_NODES = ("node-a", "node-b")
_PODS = {"pod-a": "node-a", "server": "node-a", "pod-b": "node-b"}
_POD_CIDR = "10.244.0.0/16"  # of a lab whose manifests have no Nodes
_KCOMPILE = tuple(spawn.python("kcompile"))
_OURS = re.compile(r"kcbench-(\d+)$")


def _lab(*words: str, text: str = "") -> None:
    done = spawn.run([*_KCOMPILE, "lab", *words, "--quiet"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise UnsupportedError(f"kcompile lab {words[0]}: {done.stderr.strip()}")


def _pods() -> str:
    idle = [{"name": "idle", "image": "registry.k8s.io/pause"}]
    items = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": role},
            "spec": {"nodeName": node, "containers": idle},
        }
        for role, node in _PODS.items()
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def sweep_labs() -> None:
    """Remove the labs of killed runs."""
    from kcompile.lab.netns import names_of_labs

    for name in names_of_labs():
        if (ours := _OURS.match(name)) and not Path("/proc", ours[1]).exists():
            _lab("down", "--name", name)


@contextlib.contextmanager
def lab_place() -> Iterator[HostsPlace]:
    """A lab that is up while the ``with`` block lasts. Raises UnsupportedError where it doesn't come up."""
    name = f"kcbench-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
        stack.callback(_lab, "down", "--name", name)
        _lab("up", "--name", name, "--mode", "none", "-f", "-", text=_pods())
        rooms = {node: stack.enter_context(_room(folder / node)) for node in _NODES}
        yield HostsPlace(_inventory(name, folder, rooms), "kcompile lab, routes between 2 nodes", local=True)


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[Room | None]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(room(folder))
        except UnsupportedError:
            found = None
        yield found


def _inventory(name: str, folder: Path, rooms: dict[str, Room | None]) -> Inventory:
    """The lab `name` as an inventory."""
    from kcompile.lab import netns, network
    from kcompile.lab.remote import Remote

    lab = Remote(name)
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in lab.objects("Pod", "default")}
    roles = {"outside": Role(run=_inside(netns.netns_name(name, "client")), address=network.CLIENT[0])}
    for node in _NODES:
        own = {f"KCOMPILE_{what}_DIR": str(folder / node / what.lower()) for what in ("RUN", "STATE")}
        own["KCOMPILE_CACHE_DIR"] = str(Path(program()).parent)
        run = _inside(netns.netns_name(name, "node", node), own, rooms[node], folder / node)
        roles[node] = Role(run=run, address=lab.settings.node(node).ips[0])
    for role in _PODS:
        address = pods[role]
        run = _inside(netns.netns_name(name, "pod", "default", role))
        roles[role] = (
            Role(run=run, addresses=[address]) if role == "server" else Role(run=run, address=address)
        )
    return Inventory(name=name, roles=roles, pod_cidr=_POD_CIDR, kcompile=_KCOMPILE)


def _inside(
    netns: str, environment: dict[str, str] | None = None, own: Room | None = None, folder: Path | None = None
) -> list[str]:
    """The prefix of a command line that runs in network namespace `netns`."""
    variables = dict(environment or {})
    if own:
        variables |= own.environment
    elif folder:  # mode xdp is then refused, rather than let near this machine's own
        variables |= {"KCOMPILE_BPF_DIR": str(folder / "bpf"), "KCOMPILE_CGROUP": str(folder / "cgroup")}
    words: Sequence[str] = (
        "nsenter",
        f"--net=/run/netns/{netns}",
        "env",
        *(f"{k}={v}" for k, v in variables.items()),
        "sh",
        "-c",
    )
    return list(own.inside(tuple(words)) if own else words)
