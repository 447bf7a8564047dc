"""What kube-proxy's mode ipvs has beside iptables rules: virtual servers, the device kube-ipvs0, ipsets.

Open connections through IPVS need its real servers, so these go as the connections end, like those of our
own mode ipvs (kernel/departure.py); new ones are translated by our rules before IPVS sees them.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

from ... import spawn
from ...errors import KernelError, UnsupportedError
from ...program import Change, Key
from ...targets.ipvs.resources import (
    DRAINED,
    FWMARK,
    AddressKey,
    RealServer,
    VirtualServer,
    VirtualServerKey,
)
from ..facts import interface_addresses
from ..ipvs.node import change_servers
from ..ipvs.read import real_servers, virtual_servers
from ..ipvs.sources import prefer_node_address
from .frontends import ANY, Frontend

__all__ = ["DEVICE", "Servers"]

DEVICE = "kube-ipvs0"
_SET = re.compile(r"^create (KUBE-\S+) ", re.MULTILINE)
_NODE_PORT = re.compile(r"^add KUBE-(?:6-)?NODE-PORT\S* (?:\S+:)?(\d+)(?: |$)", re.MULTILINE)
_Servers = dict[VirtualServerKey, VirtualServer]


class Servers:
    """All of it in the current network namespace, as it was when this was made."""

    def __init__(self) -> None:
        self._addresses = _bound()
        self._sets = _sets()
        ports = {int(port) for port in _NODE_PORT.findall(self._sets)}
        self._virtual: _Servers = {}
        if self._addresses:
            node = set(interface_addresses()) - self._addresses
            self._virtual = {
                key: server
                for key, server in virtual_servers().items()
                if key.protocol != FWMARK
                and (key.address in self._addresses or (key.address in node and key.port in ports))
            }

    @staticmethod
    def there() -> bool:
        """Whether the device is."""
        try:
            return socket.if_nametoindex(DEVICE) > 0
        except OSError:
            return False

    def __len__(self) -> int:
        return len(self._virtual)

    def frontends(self) -> Iterator[Frontend]:
        """The addresses and ports that they answer."""
        for key in self._virtual:
            address = key.address if key.address in self._addresses else ANY
            yield Frontend(key.version, key.protocol, address, key.port)

    def reroute_new_connections(self) -> None:
        """Let the node's own new connections come from an address that stays. Call it before our rules go
        in.
        """
        keys: list[Key] = [AddressKey(6 if ":" in ip else 4, ip) for ip in self._addresses]
        keys += real_servers(self._virtual)
        prefer_node_address(dict.fromkeys(keys), DEVICE)

    def drain(self) -> int:
        """Remove every server without an open TCP connection; returns how many connections are left."""
        tcp = [key for key in real_servers(self._virtual) if key.protocol == "tcp"]
        change_servers([Change(key, RealServer(), DRAINED) for key in tcp])
        held = real_servers(self._virtual)  # only now, without new connections, is their number final
        open_ones = {
            key: server for key, server in held.items() if key.protocol == "tcp" and server.connections
        }
        busy = {key.virtual_server for key in open_ones}
        gone: list[Change] = [
            Change(key, server, None)
            for key, server in held.items()
            if key not in open_ones and key.virtual_server in busy
        ]
        gone += [Change(key, server, None) for key, server in self._virtual.items() if key not in busy]
        change_servers(gone)
        return sum(server.connections for server in open_ones.values())

    def remove_rest(self) -> None:
        """Remove the device and the sets. Call it once no rule names a set any more. Raises KernelError."""
        if self.there():
            _run(["ip", "link", "delete", DEVICE])
        names = _SET.findall(self._sets)
        if names:
            _run(["ipset", "restore", "-exist"], "".join(f"destroy {name}\n" for name in names))


def _bound() -> set[str]:
    """The addresses on the device, without link-local ones; empty where it isn't there."""
    if not Servers.there():
        return set()
    shown = json.loads(_run(["ip", "-json", "address", "show", "dev", DEVICE]) or "[]")
    infos = [info for link in shown for info in link.get("addr_info", ())]
    return {info["local"] for info in infos if info.get("scope") != "link"}


def _sets() -> str:
    """What ``ipset save`` prints; empty where there is no ipset."""
    try:
        done = spawn.run(["ipset", "save"], capture_output=True, text=True)
    except UnsupportedError:
        return ""
    return str(done.stdout) if done.returncode == 0 else ""


def _run(command: list[str], text: str = "") -> str:
    done = spawn.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)}: {' '.join(done.stderr.split())}")
    return str(done.stdout)
