"""What a lab is made with: set by ``lab up``, read by every part of its process; and where it is kept.

All files of a lab are in one folder under $KCOMPILE_RUN_DIR (or /run/kcompile); a reboot removes it.

lab-NAME/settings.json           this module's LabSettings
         log                     what its process says
         api.sock, control.sock  for the commands of ``kcompile lab``
         kubeconfig, token       for the user's kubectl, and for those commands
         account/                for pods: the service account, and a kubeconfig
         ca.crt, server.*        the API server's certificates
         pods/NAMESPACE.POD/     logs and volumes
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError, InputError
from ..files import read_private, write_whole
from ..kernel.kept import make_folder
from ..kernel.places import run_base
from ..spec.addresses import family_of
from ..spec.allocate import DEFAULT_NODE_PORT_RANGE
from ..spec.cluster import ClusterSettings

__all__ = ["API_PORT", "LabSettings", "NodeSettings", "lab_directory", "no_lab"]

API_PORT = 6443
"""The API server's port in the fabric namespace, for pods and nodes: kubeadm's."""

_FILE = "settings.json"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class NodeSettings(msgspec.Struct):
    """A node: its name, one address and one pod CIDR of each family, its labels."""

    name: str
    ips: list[str]
    pod_cidrs: list[str]
    labels: dict[str, str] = {}


class LabSettings(msgspec.Struct, kw_only=True):
    """One lab.

    `network`: routes or vxlan; `domain`: of DNS; `load_balancer_cidrs`: the pool of load balancer addresses,
    a range of each family; `api_addresses`: of the API server in the fabric, of each family; `images`: more
    images, as images.yaml has them; `stand_ins`: an unknown image is an echo server; `config`: text of the
    nodes' configuration file, or empty; `api_port`: of the API server on the loopback, 0 before it has one.
    """

    name: str
    mode: str = "nftables"
    network: str = "routes"
    domain: str = "cluster.local"
    service_cidrs: list[str] = []
    node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE
    load_balancer_cidrs: list[str] = []
    api_addresses: list[str] = []
    nodes: list[NodeSettings] = []
    images: dict[str, Any] = {}
    stand_ins: bool = False
    config: str = ""
    api_port: int = 0

    @property
    def dual_stack(self) -> bool:
        return len({family_of(cidr) for cidr in self.service_cidrs}) > 1

    @property
    def cluster(self) -> ClusterSettings:
        """The settings of the whole cluster, for every verb."""
        return ClusterSettings(
            service_cidrs=tuple(self.service_cidrs), node_port_range=self.node_port_range, domain=self.domain
        )

    @property
    def name_servers(self) -> list[str]:
        """The clusterIPs of Service kube-dns: the tenth address of each range, as kubeadm has it."""
        return [str(ip_network(cidr)[10]) for cidr in self.service_cidrs]

    def node(self, name: str) -> NodeSettings:
        """The node called `name`, which must exist."""
        return next(node for node in self.nodes if node.name == name)

    @classmethod
    def load(cls, directory: Path) -> LabSettings | None:
        """Those kept in the lab's folder; None where there are none, or they can't be read."""
        try:
            return msgspec.json.decode(read_private(directory / _FILE), type=cls)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save(self, directory: Path) -> None:
        """Write them whole or not at all."""
        make_folder(directory)
        write_whole(directory / _FILE, msgspec.json.encode(self), private=True)


def lab_directory(name: str) -> Path:
    """The folder of lab `name`. Raises ConfigError for a bad name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits and '-', at most 32")
    return run_base() / f"lab-{name}"


def no_lab(name: str) -> InputError:
    """That there is no lab `name`."""
    return InputError(f"there is no lab {name!r} (kcompile lab up --name {name} -f ...)")
