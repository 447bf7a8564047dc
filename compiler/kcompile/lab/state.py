"""The files of a lab, in one folder under $KCOMPILE_RUN_DIR (or /run/kcompile); a reboot removes both.

lab-NAME/state.json        this module's LabState
         allocations.json  clusterIPs and nodePorts
         cluster/          cluster.json: the objects as nodes and DNS read them; config.json: for every node
         nodes/NODE/       that node's kcompile: its lock, its state
         pods/NS.POD/      files, logs and status of its containers
"""

from __future__ import annotations

import re
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
from .settings import NodeSettings

__all__ = ["LabState", "NodeState", "PodState", "Stored", "check_name", "lab_directory", "labs"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_VERSION = 1


class Stored(msgspec.Struct):
    """An applied manifest and where it was read."""

    manifest: dict[str, Any]
    source: str = ""
    document: int = 0


class NodeState(NodeSettings):
    """A node.

    `next_pod`: the host number of the next pod's address; round-robin, so a freed one is reused late.
    """

    next_pod: int = 2
    next_link: int = 0


class PodState(msgspec.Struct, kw_only=True):
    """A scheduled Pod.

    `owner`: ``namespace/name`` of its Deployment, or empty; `hash` of the template that it was made from.
    """

    namespace: str
    name: str
    node: str
    ips: list[str]
    manifest: dict[str, Any]
    owner: str = ""
    hash: str = ""
    link: str = ""
    created: float = 0.0
    ready: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def host_network(self) -> bool:
        return not self.link


class LabState(msgspec.Struct, kw_only=True):
    """One lab.

    `objects`: ``Kind/namespace/name`` to manifest; `retired`: clusterIPs of removed Services, not allocated
    again; `wired`: its nodes and its name server have come up, so `apply` can repair the rest.
    """

    name: str
    mode: str
    network: str
    domain: str
    service_cidrs: list[str]
    created: float
    node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE
    version: int = _VERSION
    nodes: list[NodeState] = []
    pods: list[PodState] = []
    objects: dict[str, Stored] = {}
    retired: list[str] = []
    images: dict[str, Any] = {}
    config: str = ""
    wired: bool = False

    @property
    def dual_stack(self) -> bool:
        return len({family_of(cidr) for cidr in self.service_cidrs}) > 1

    @property
    def cluster(self) -> ClusterSettings:
        """The settings of the whole cluster, for every verb."""
        return ClusterSettings(
            service_cidrs=tuple(self.service_cidrs), node_port_range=self.node_port_range, domain=self.domain
        )

    def node(self, name: str) -> NodeState:
        """The node called `name`, which must exist."""
        return next(node for node in self.nodes if node.name == name)

    @classmethod
    def load(cls, directory: Path) -> LabState:
        """The lab in `directory`.

        Raises InputError where there is none, ConfigError where its file is damaged.
        """
        try:
            return msgspec.json.decode(read_private(directory / "state.json"), type=cls)
        except FileNotFoundError:
            name = directory.name.removeprefix("lab-")
            raise InputError(f"there is no lab {name!r} (kcompile lab up --name {name} -f ...)") from None
        except PermissionError as error:
            raise InputError(f"{error.filename}: {error.strerror} (a lab needs root)") from None
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{directory / 'state.json'}: damaged ({error}); kcompile lab down removes the lab"
            ) from None

    def save(self, directory: Path) -> None:
        """Write it whole or not at all."""
        make_folder(directory)
        write_whole(directory / "state.json", msgspec.json.encode(self), private=True)


def check_name(name: str) -> str:
    """`name`, fit to be a lab's. Raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits and '-', at most 32")
    return name


def lab_directory(name: str) -> Path:
    """The folder of lab `name`. Raises ConfigError for a bad name."""
    return run_base() / f"lab-{check_name(name)}"


def labs() -> list[str]:
    """The names of the existing labs."""
    return sorted(
        path.parent.name.removeprefix("lab-") for path in lab_directory("x").parent.glob("lab-*/state.json")
    )
