"""Real machines, or virtual ones: an inventory says how to run a command on each, and which addresses they
have.

    name: rack 3
    podCIDR: 10.244.0.0/16
    kcompile: [kcompile]                       # what it is called on the nodes
    roles:
      node-a:  {run: [ssh, root@a], address: 10.0.0.1}
      node-b:  {run: [ssh, root@b], address: 10.0.0.2}
      outside: {run: [ssh, root@c], address: 10.0.0.9}
      pod-a:   {run: [ssh, root@a, ip, netns, exec, pod1], address: 10.244.0.5}
      server:  {run: [ssh, root@a, ip, netns, exec, pod2], addresses: [10.244.0.6, 10.244.0.7]}

A command is added to `run` as one string, for a shell; it is a simple command, so `sudo` or `ip netns exec`
may end `run`. Roles that are left out take their paths with them. There is one set of machines for all modes,
so modes take turns within a round: `kcompile apply --mode`, and `kcompile delete` for the baselines. Rules of
kcompile that the nodes had before are lost; nothing else is touched.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from kcompile import spawn
from kcompile.errors import InputError, UnsupportedError

from ..generate import POD_CIDR
from .cluster import Site
from .drive import cpus, finish, program
from .scenario import PATHS

__all__ = ["HostsPlace", "Inventory", "Role", "read_inventory"]

_NEEDED = ("node-a", "node-b", "server")
_PATIENCE = 60.0


class Role(msgspec.Struct, forbid_unknown_fields=True):
    """One machine, or a namespace of one."""

    run: list[str]
    address: str = ""
    addresses: list[str] = []


class Inventory(msgspec.Struct, forbid_unknown_fields=True):
    """An inventory file."""

    name: str
    roles: dict[str, Role]
    pod_cidr: str = msgspec.field(default=POD_CIDR, name="podCIDR")
    kcompile: tuple[str, ...] = ("kcompile",)


def read_inventory(file: Path) -> Inventory:
    """The inventory in `file`. Raises InputError."""
    import yaml

    try:
        inventory = msgspec.convert(yaml.safe_load(file.read_text()), Inventory)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise InputError(f"{file}: {' '.join(str(error).split())}") from None
    for role in _NEEDED:
        if role not in inventory.roles:
            raise InputError(f"{file}: roles: {role} is missing")
    for name, role in inventory.roles.items():
        if not role.run or not (role.addresses if name == "server" else role.address):
            raise InputError(
                f"{file}: roles.{name}: run and {'addresses' if name == 'server' else 'address'} are needed"
            )
    return inventory


class HostsPlace:
    """The machines of an inventory. `local`: they are namespaces of this machine."""

    shared = True

    def __init__(self, inventory: Inventory, name: str, *, local: bool = False) -> None:
        self._inventory, self.name, self.local = inventory, name, local
        addresses = {name: role.address for name, role in inventory.roles.items() if role.address}
        self.site = Site(addresses, tuple(inventory.roles["server"].addresses), inventory.pod_cidr)
        self.paths = tuple(
            path.name
            for path in PATHS.values()
            if path.source in inventory.roles and path.name != "outside-detour"
        )
        self._cluster: HostsCluster | None = None

    @contextlib.contextmanager
    def cluster(self, name: str, pods: Sequence[str]) -> Iterator[HostsCluster]:  # noqa: ARG002 (they are the same for all)
        """The machines. The first to come puts the driver there; the last to go removes it."""
        if self._cluster:
            yield self._cluster
            return
        self._cluster = HostsCluster(self._inventory, self.site, self.local)
        try:
            self._cluster.prepare()
            yield self._cluster
        finally:
            self._cluster.clean()
            self._cluster = None


class HostsCluster:
    """The machines of `inventory`."""

    def __init__(self, inventory: Inventory, site: Site, local: bool) -> None:
        self._roles, self.site, self.kcompile = inventory.roles, site, tuple(inventory.kcompile)
        self.cpus = cpus() if local else (-1, -1)
        # there, and gone at the end: here by name, for netns_cluster.sweep; elsewhere not in /run, from where
        # Debian runs no programs
        self._folder = (
            f"{tempfile.gettempdir()}/kcbench-{os.getpid()}-hosts"
            if local
            else f"/var/lib/kcompile-bench-{os.getpid()}"
        )

    def start(
        self, role: str, command: Sequence[str], *, stdin: int | IO[Any] | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        words = [*(["env", *(f"{k}={v}" for k, v in environment.items())] if environment else []), *command]
        if role not in self._roles:
            raise UnsupportedError(f"the inventory has no {role}")
        return spawn.popen(
            [*self._roles[role].run, shlex.join(words)],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def put(self, role: str, name: str, data: bytes) -> str:
        path = f"{self._folder}/{role}/{name}"
        # one simple command, as all others are: whatever stands before it, sudo say, is for all of it
        command = shlex.join(
            [
                "sh",
                "-c",
                'mkdir -p "$1" && cat >"$1/$2" && chmod 755 "$1/$2"',
                "sh",
                f"{self._folder}/{role}",
                name,
            ]
        )
        done = spawn.run(
            [*self._roles[role].run, command], input=data, capture_output=True, timeout=_PATIENCE
        )
        if done.returncode:
            raise UnsupportedError(f"{role}: {done.stderr.decode(errors='replace').strip()[:200]}")
        return path

    def prepare(self) -> None:
        """Put the driver where connections begin and end."""
        for role in self._roles:
            if role != "node-b":
                self.put(role, "drive", Path(program()).read_bytes())

    def clean(self) -> None:
        """Remove the files of `put`."""
        for role in self._roles:
            finish(self.start(role, ["rm", "-rf", f"{self._folder}/{role}"]), _PATIENCE, f"rm on {role}")
            with contextlib.suppress(Exception):
                finish(self.start(role, ["rmdir", self._folder]), _PATIENCE, f"rmdir on {role}")

    def driver(self, role: str) -> str:
        return f"{self._folder}/{role}/drive"

    def environment(self, role: str) -> dict[str, str]:  # noqa: ARG002 (a node of its own: the usual folders)
        return {}

    def settle(self) -> None:
        """Sysctls of real machines are theirs."""
