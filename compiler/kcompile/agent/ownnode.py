"""The node as an agent finds it: its configuration, its Node object, its addresses and interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..engine.compile import chosen_mode, look, node_and_settings
from ..engine.request import configuration, xdp_settings
from ..errors import ConfigError
from ..kernel.drivers import Driver
from ..kernel.facts import hostname
from ..modes import Mode
from ..spec.hosts import known_hosts
from ..spec.inventory import Inventory
from .options import Options
from .ports import Surroundings
from .state import State

if TYPE_CHECKING:
    from ..spec.objects import Node

__all__ = ["OwnNode"]

_NAMED = 3  # Nodes in a warning


class OwnNode:
    """The node that `options` name: what they, its Node object and its namespace say of it.

    Its mode stays what it is at first. Use it in the kernel thread. `lacks`: a warning where the cluster has
    no Node of this name.

    :param directory: the namespace's run directory
    :param default_mode: the mode where neither request nor configuration names one
    :raises ConfigError: for a mode that there isn't
    """

    def __init__(self, options: Options, state: State, directory: Path, default_mode: str | None) -> None:
        self._request, self._state, self._directory = options.request, state, directory
        self._name = options.own_name()
        self.config, self._stamp = options.config, _stamp(self._request.config)
        self.lacks = ""
        self.mode: Mode = chosen_mode(self.config, default_mode)

    def driver(self) -> Driver:
        """What programs the mode here. Raises UnsupportedError where its tools are missing."""
        request = self._request
        capacities = dict(xdp_settings(request).capacities) if self.mode.sees_interfaces else None
        return self.mode.driver(self._directory, request.iptables_backend, capacities)

    def configuration_has_changed(self) -> bool:
        """Whether the file is another one than the one that was read."""
        return _stamp(self._request.config) != self._stamp

    def reload(self) -> None:
        """Read the configuration again. Raises ConfigError; the old one then stays."""
        self._stamp = _stamp(self._request.config)
        config = configuration(self._request)
        if chosen_mode(config, self.mode.name) is not self.mode:
            raise ConfigError(f"{config.source}: another mode needs a restart: {config.mode}")
        self.config = config

    def surroundings(self, driver: Driver) -> Surroundings:
        """What every port depends on, as it is now.

        :raises ConfigError: for settings that can't be
        """
        nodes, name = self._state.nodes(), self._name
        config = msgspec.structs.replace(self.config, hostname=name or hostname())
        seen, cidrs = look(self.mode, self._request), self._state.service_cidrs()
        own = _own(nodes, name)
        self.lacks = ""
        if own is None and (nodes or not self._request.reads):
            self.lacks = _lacks(config.hostname, nodes)
        facts, settings = node_and_settings(config, own, cidrs, self._request, self.mode, seen)
        hosts = known_hosts(Inventory(nodes=nodes)) if self.mode.binds_addresses else None
        return Surroundings(facts, settings, frozenset(driver.families()), hosts)


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next; None where there is no file."""
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _own(nodes: Sequence[Node], name: str | None) -> Node | None:
    """The Node with `name`, or the only one where nobody has given a name."""
    if name:
        return next((node for node in nodes if node.metadata.name == name), None)
    if len(nodes) == 1:
        return nodes[0]
    host = hostname()
    return next((node for node in nodes if node.metadata.name == host), None)


def _lacks(name: str, nodes: Sequence[Node]) -> str:
    """That there is no Node `name` among `nodes`, and what follows from it."""
    known = ", ".join(node.metadata.name for node in nodes[:_NAMED])
    among = f" ({known}{', ...' if len(nodes) > _NAMED else ''})" if nodes else ""
    return (
        f"there is no Node {name}{among}: the zone and pod CIDR of this node are unknown, and only endpoints "
        f"with nodeName {name} count as local; --node names another"
    )
